//! One step of control: observe, detect, localize, propose, plan, act. The same on a real node and on a simulated one.
//!
//! Must not know where traces and metrics come from, nor sleep: whoever calls decides when a step is due.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Context, Result};
use ballast_api::{
    ContainerName, ContainerState, Cores, Limit, LimitChange, Limits, NodeAgent, NodeError, NodeInfo, Plan,
    PlanOutcome, UnixNanos,
};

use super::{
    evidence::{limit_cores, stored_metrics},
    report::{Acting, Opinion, StepReport},
    settings::Settings,
};
use crate::{
    environment::{Bounds, Observation, RequestMix, utilisation},
    localize::{HealthyProfile, Localizer, PathTimes, Verdict, culprit, features},
    plan::{self, Decision, History, Proposal, Situation},
    policies::{Aimd, Evidence, LimitPolicy},
    slo::Assessment,
    store::MetricStore,
    traces::Trace,
};

/// A controller of one node.
pub struct Controller {
    settings: Settings,
    node: Arc<dyn NodeAgent>,
    info: NodeInfo,
    localizer: Localizer,
    healthy: HealthyProfile,
    policy: Box<dyn LimitPolicy>,
    /// The rule that a learned policy must not do worse than.
    heuristic: Aimd,
    history: History,
    /// The limits lent, in cores: renewed each step, as a lease asks.
    lent: BTreeMap<ContainerName, f64>,
    generation: u64,
    requests_before: Option<usize>,
}

impl Controller {
    /// A controller of `node`, which is asked what it is.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn new(
        settings: Settings,
        node: Arc<dyn NodeAgent>,
        localizer: Localizer,
        policy: Box<dyn LimitPolicy>,
    ) -> Result<Self, NodeError> {
        let info = node.node().await?;
        let generation = node.containers().await?.iter().map(|state| state.generation).max().unwrap_or(0);
        Ok(Self {
            settings,
            node,
            info,
            localizer,
            healthy: HealthyProfile::default(),
            policy,
            heuristic: Aimd,
            history: History::default(),
            lent: BTreeMap::new(),
            generation,
            requests_before: None,
        })
    }

    /// One step. Never fails: what goes wrong is in the report, and the node's leases undo what is not renewed.
    pub async fn step(
        &mut self,
        now: UnixNanos,
        traces: &[Arc<Trace>],
        metrics: &dyn MetricStore,
        acting: Acting,
    ) -> StepReport {
        let mut report = StepReport::new(now, acting);
        if let Err(error) = self.try_step(traces, metrics, &mut report).await {
            tracing::warn!(error = format!("{error:#}"), "this step was not finished");
            report.trouble = Some(format!("{error:#}"));
        }
        report
    }

    async fn try_step(
        &mut self,
        traces: &[Arc<Trace>],
        metrics: &dyn MetricStore,
        report: &mut StepReport,
    ) -> Result<()> {
        let containers = self.node.containers().await.context("observing the node")?;
        report.objectives = self.settings.detector.assess(traces);
        report.violated = report.objectives.iter().any(|objective| objective.violated);
        let requests: Vec<PathTimes> = traces.iter().map(|trace| PathTimes::of(trace)).collect();
        let metrics =
            stored_metrics(&self.settings.node, &containers, self.capacity(), metrics, report.at).await;
        if report.violated {
            report.verdicts = self.localizer.judge(&features(&requests, &metrics, &self.healthy));
            report.culprit = culprit(&report.verdicts).and_then(|worst| known(worst, &containers));
        } else {
            // Names of other requests come from outside, without end: they are not remembered.
            let objectives = self.settings.detector.objectives();
            let promised =
                |request: &PathTimes| objectives.iter().any(|one| *one.request == *request.request);
            let promised: Vec<PathTimes> = requests.into_iter().filter(promised).collect();
            self.healthy.learn(&promised, &metrics);
        }
        report.opinions = self.opinions(traces, &containers, report);
        let proposals = self.proposals(report);
        let situation = Situation {
            now: report.at,
            containers: &containers,
            capacity: self.capacity(),
            violated: report.violated,
        };
        match report.acting {
            Acting::Act => {
                report.decision =
                    plan::decide(situation, &proposals, &self.settings.guards, &mut self.history);
                report.outcome = self.act(&report.decision).await?;
            }
            // What is not done must not be remembered as done.
            Acting::Observe => {
                let mut history = self.history.clone();
                report.decision = plan::decide(situation, &proposals, &self.settings.guards, &mut history);
            }
        }
        Ok(())
    }

    fn capacity(&self) -> Cores {
        self.info.capacity.cpu.unwrap_or(Cores::ZERO)
    }

    /// What the policy and its rival think of the culprit, and of every container that holds a lent limit.
    fn opinions(
        &mut self,
        traces: &[Arc<Trace>],
        containers: &[ContainerState],
        report: &StepReport,
    ) -> Vec<Opinion> {
        let requests = traces.len();
        let before = self.requests_before.replace(requests).unwrap_or(requests);
        let mut mix = RequestMix::default();
        traces.iter().for_each(|trace| mix.count(trace.request()));
        let concerned: BTreeSet<&ContainerName> = report.culprit.iter().chain(self.lent.keys()).collect();
        let of_concern = containers.iter().filter(|state| concerned.contains(&state.name));
        of_concern
            .map(|state| {
                let observation = Observation {
                    utilisation: utilisation(
                        &state.usage.unwrap_or_default(),
                        &state.limits,
                        &self.info.capacity,
                    ),
                    slo_maintenance: worst_maintenance(&report.objectives),
                    workload_change: ratio(requests, before),
                    request_composition: mix.as_number(),
                };
                self.opinion(state, observation)
            })
            .collect()
    }

    fn opinion(&self, state: &ContainerState, observation: Observation) -> Opinion {
        let capacity = self.capacity();
        let baseline = state.baseline.cpu.unwrap_or(Limit::Max).or(capacity).get();
        let evidence = Evidence {
            container: &state.name,
            limit_cores: limit_cores(state, capacity),
            bounds: Bounds::around(baseline, capacity.get()),
            observation,
        };
        Opinion {
            container: state.name.clone(),
            policy_cores: self.policy.propose(&evidence),
            heuristic_cores: self.heuristic.propose(&evidence),
            observation: evidence.observation,
        }
    }

    /// What the policy wants. While an objective is violated the culprit gets at least what the heuristic would give:
    /// a policy that is still bad must not do worse than the rule that it replaces.
    fn proposals(&self, report: &StepReport) -> Vec<Proposal> {
        let propose = |opinion: &Opinion| {
            let urgent = report.violated && report.culprit.as_ref() == Some(&opinion.container);
            let floor = opinion.heuristic_cores.filter(|_| urgent);
            let (cpu_cores, by) = match (opinion.policy_cores, floor) {
                (Some(policy), Some(floor)) if policy < floor => (floor, self.heuristic.name()),
                (Some(policy), _) => (policy, self.policy.name()),
                (None, Some(floor)) => (floor, self.heuristic.name()),
                (None, None) => return None,
            };
            Some(Proposal { container: opinion.container.clone(), cpu_cores, by: by.to_owned() })
        };
        report.opinions.iter().filter_map(propose).collect()
    }

    /// Carries the decision out, and renews what was lent before.
    async fn act(&mut self, decision: &Decision) -> Result<Option<PlanOutcome>> {
        let mut wanted = self.lent.clone();
        wanted.extend(decision.changes.iter().map(|change| (change.container.clone(), change.after_cores)));
        if wanted.is_empty() {
            return Ok(None);
        }
        self.generation += 1;
        let change_of = |(container, cores): (&ContainerName, &f64)| LimitChange {
            container: container.clone(),
            limits: Limits::of_cpu(Limit::At(Cores::saturating(*cores))),
        };
        let plan = Plan {
            generation: self.generation,
            lease_seconds: self.settings.lease.as_secs_f64(),
            dry_run: false,
            changes: wanted.iter().map(change_of).collect(),
        };
        match self.node.apply(&plan).await {
            Ok(outcome) => {
                self.lent = wanted;
                Ok(Some(outcome))
            }
            Err(NodeError::UnknownContainer { container }) => {
                // It is gone, and its limit with it: the others are renewed in the next step.
                self.lent.retain(|name, _| name.as_str() != container);
                Err(NodeError::UnknownContainer { container }).context("applying the plan")
            }
            Err(error) => Err(error).context("applying the plan"),
        }
    }

    /// Gives every lent limit back. What cannot be given back now ends with its lease.
    ///
    /// # Errors
    /// The first failure; the others are tried all the same.
    pub async fn release(&mut self) -> Result<(), NodeError> {
        let mut outcome = Ok(());
        for container in std::mem::take(&mut self.lent).into_keys() {
            match self.node.restore(&container).await {
                Ok(_) | Err(NodeError::UnknownContainer { .. }) => {}
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }
}

/// The container that a verdict is about, if this node has it: what it does not have it cannot help.
fn known(verdict: &Verdict, containers: &[ContainerState]) -> Option<ContainerName> {
    containers.iter().map(|state| &state.name).find(|name| name.as_str() == &*verdict.container).cloned()
}

/// `SM` of the objective that is kept worst.
fn worst_maintenance(objectives: &[Assessment]) -> f64 {
    objectives.iter().map(Assessment::slo_margin).fold(1.0, f64::min)
}

#[expect(clippy::cast_precision_loss, reason = "requests of a few seconds")]
fn ratio(now: usize, before: usize) -> f64 {
    if before == 0 { 1.0 } else { now as f64 / before as f64 }
}
