//! The play: load, contention without the controller, rest, contention with it. The same on every stage.

use std::time::Duration;

use anyhow::Result;
use ballast_api::{ContainerName, UnixNanos};

use super::{
    outcome::{Phases, Run},
    score::{FinishedRequest, Interval, SETTLED, Score},
    stage::{Contention, Stage},
};
use crate::{
    operate::{Acting, Controller, StepReport},
    slo::Objective,
};

/// How long each part lasts, and what is done to whom.
#[derive(Debug, Clone)]
pub struct Script {
    /// Whom to contend.
    pub target: ContainerName,
    /// In percent of the target's CPU limit.
    pub percent_of_limit: f64,
    /// The load.
    pub requests_per_second: f64,
    /// What users expect.
    pub objectives: Vec<Objective>,
    /// Load before anything is measured: connections open, caches fill, the controller learns what is healthy.
    pub warm_up: Duration,
    /// Undisturbed load before each contention.
    pub before: Duration,
    /// Contention while nobody acts.
    pub contention_without: Duration,
    /// Contention while the controller acts.
    pub contention_with: Duration,
}

impl Script {
    /// The whole play without the rests, in steps of a second, for a progress bar.
    #[must_use]
    pub fn steps(&self) -> u64 {
        let whole = self.warm_up + self.before * 2 + self.contention_without + self.contention_with;
        whole.as_secs()
    }
}

/// A step of the controller and of the clock.
const STEP: Duration = Duration::from_secs(1);

/// The longest wait for the queues to drain after a contention, and for a busy machine to calm down before one.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Requests sent longer ago than this are answered, unless they are late: which are late is known of these alone.
const ANSWERED_BY_NOW: Duration = Duration::from_secs(1);

/// The share of the requests sent on average that must be answered for that: by chance fewer are sent, but not so few.
const ANSWERED_SHARE: f64 = 0.7;

/// What the phase is called in which it is waited for calm.
pub const WAITING: &str = "waiting for calm";

/// A wait is over when this long was undisturbed.
const UNDISTURBED: Duration = Duration::from_secs(4);

/// Who is told of each step, and in which phase it was.
pub type Listener<'a> = dyn FnMut(&'static str, &StepReport) + Send + 'a;

/// What happened on the stage.
#[derive(Debug)]
pub struct Played {
    /// Every request, in the order of their ends.
    pub requests: Vec<FinishedRequest>,
    /// Without the controller, then with it.
    acts: [Act; 2],
}

#[derive(Debug)]
struct Act {
    controlled: bool,
    before: Interval,
    contention: Interval,
    steps: Vec<StepReport>,
}

/// Plays the script to its end, telling each step with the phase that it belongs to.
///
/// # Errors
/// When the stage breaks: a program ended that should run, or could not be reached.
pub async fn play(
    stage: &mut dyn Stage,
    controller: &mut Controller,
    script: &Script,
    tell: &mut Listener<'_>,
) -> Result<Played> {
    let mut play = Play { stage, controller, script, tell, requests: Vec::new() };
    play.pass("warming up", script.warm_up, Acting::Observe).await?;
    let without = play.act(Acting::Observe, script.contention_without).await?;
    play.wait_for_calm(play.stage.now()).await?;
    let with = play.act(Acting::Act, script.contention_with).await?;
    play.wait_for_calm(play.stage.now()).await?;
    Ok(Played { requests: play.requests, acts: [without, with] })
}

struct Play<'a> {
    stage: &'a mut dyn Stage,
    controller: &'a mut Controller,
    script: &'a Script,
    tell: &'a mut Listener<'a>,
    requests: Vec<FinishedRequest>,
}

impl Play<'_> {
    async fn act(&mut self, acting: Acting, length: Duration) -> Result<Act> {
        let begin = self.stage.now();
        // Nobody acts yet: both runs meet the contention with the same limits.
        self.pass("undisturbed", self.script.before, Acting::Observe).await?;
        self.wait_for_calm(begin).await?;
        let contention = Contention {
            target: self.script.target.clone(),
            percent_of_limit: self.script.percent_of_limit,
            duration: length,
        };
        let from = self.stage.contend(&contention).await?;
        let phase = match acting {
            Acting::Observe => "contended, nobody acts",
            Acting::Act => "contended, the controller acts",
        };
        let steps = self.pass(phase, length, acting).await?;
        Ok(Act {
            controlled: acting == Acting::Act,
            before: Interval { from: from.minus(self.script.before), to: from },
            contention: Interval { from, to: from.plus(length) },
            steps,
        })
    }

    async fn pass(&mut self, phase: &'static str, time: Duration, acting: Acting) -> Result<Vec<StepReport>> {
        let mut reports = Vec::new();
        for _ in 0..time.as_secs() {
            self.stage.pass(STEP).await?;
            let report = self.step(acting).await?;
            (self.tell)(phase, &report);
            reports.push(report);
        }
        Ok(reports)
    }

    async fn step(&mut self, acting: Acting) -> Result<StepReport> {
        let now = self.stage.now();
        self.requests.extend(self.stage.finished()?);
        let traces = match self.stage.traces().lock() {
            Ok(mut window) => window.traces(now),
            Err(poisoned) => poisoned.into_inner().traces(now),
        };
        Ok(self.controller.step(now, &traces, self.stage.metrics().as_ref(), acting).await)
    }

    /// Waits until requests were undisturbed for a while, counted from `since` at the earliest: until the queues that a
    /// contention left are drained, and a shared machine has room.
    async fn wait_for_calm(&mut self, since: UnixNanos) -> Result<()> {
        let begin = self.stage.now();
        while !self.is_calm(since) {
            if self.stage.now().since(begin) >= LONGEST_WAIT {
                tracing::warn!(
                    seconds = LONGEST_WAIT.as_secs(),
                    "requests stay late though nothing is contended"
                );
                break;
            }
            self.stage.pass(STEP).await?;
            let report = self.step(Acting::Observe).await?;
            (self.tell)(WAITING, &report);
        }
        Ok(())
    }

    fn is_calm(&self, since: UnixNanos) -> bool {
        let to = self.stage.now().minus(ANSWERED_BY_NOW);
        let lately = Interval { from: to.minus(UNDISTURBED), to };
        let score = Score::new(&self.requests, &self.script.objectives);
        let sent = self.script.requests_per_second * UNDISTURBED.as_secs_f64();
        lately.from >= since
            && score.finished(lately) >= ANSWERED_SHARE * sent
            && !score.violated(lately)
            && score.share_over(lately) < 0.05
    }
}

impl Played {
    /// The request type that the contention hit worst while nobody acted.
    #[must_use]
    pub fn worst_request(&self, script: &Script) -> String {
        let score = Score::new(&self.requests, &script.objectives);
        let [without, _] = &self.acts;
        score.worst(without.contention).map_or_else(String::new, |(request, _)| request.to_owned())
    }

    /// Both runs as people read them: without the controller, then with it.
    #[must_use]
    pub fn runs(&self, script: &Script, worst_request: &str) -> [Run; 2] {
        let score = Score::new(&self.requests, &script.objectives);
        [self.run(&self.acts[0], &score, worst_request), self.run(&self.acts[1], &score, worst_request)]
    }

    fn run(&self, act: &Act, score: &Score<'_>, worst_request: &str) -> Run {
        let recovered_at = score.recovered_at(act.contention);
        let Interval { to: end, .. } = act.contention;
        let until = recovered_at.unwrap_or(end);
        let settled = recovered_at.unwrap_or_else(|| end.minus(SETTLED));
        let after = Interval { from: settled, to: settled.plus(SETTLED) };
        let rest = recovered_at.map(|at| Interval { from: at.plus(SETTLED), to: end });
        let during = Interval { from: act.contention.from, to: until };
        let named = act.named();
        Run {
            controlled: act.controlled,
            seen: Phases {
                before: score.seen(worst_request, act.before),
                during: score.seen(worst_request, during),
                after: score.seen(worst_request, after),
            },
            rest: rest.map(|rest| score.seen(worst_request, rest)).filter(|seen| seen.requests > 0),
            share_over: score.share_over(act.contention),
            seconds_to_recovery: recovered_at.map(|at| act.seconds_into(at)),
            violated: recovered_at != Some(act.contention.from),
            seconds_to_naming: named.first().and_then(|(name, _)| act.first_named(name)),
            named,
            changes: act.steps.iter().flat_map(|step| step.applied_changes().cloned()).collect(),
        }
    }
}

impl Act {
    fn seconds_into(&self, at: UnixNanos) -> f64 {
        at.since(self.contention.from).as_secs_f64()
    }

    /// Who was named in how many steps, most often first.
    fn named(&self) -> Vec<(ContainerName, usize)> {
        let mut times: Vec<(ContainerName, usize)> = Vec::new();
        for name in self.steps.iter().filter_map(|step| step.culprit.as_ref()) {
            match times.iter_mut().find(|(known, _)| known == name) {
                Some((_, count)) => *count += 1,
                None => times.push((name.clone(), 1)),
            }
        }
        times.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        times
    }

    fn first_named(&self, name: &ContainerName) -> Option<f64> {
        let step = self.steps.iter().find(|step| step.culprit.as_ref() == Some(name))?;
        Some(self.seconds_into(step.at))
    }
}
