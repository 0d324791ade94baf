//! Which task is in which group, for a file system that the kernel does not tell of forks: it looks at `/proc` instead.
//!
//! Must not know limits. Section "Resource alloc and monitor groups", `tasks`: a child begins in the group of its parent as
//! that was when the child was made, which the start time tells. A task that is made in the same hundredth of a second in
//! which its parent is moved counts as made before: the less convenient case for who moves them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A group: a control group (empty for the root's) and, in it, perhaps a monitoring group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Place {
    /// The name of the control group.
    pub control: String,
    /// The name of the monitoring group.
    pub monitor: Option<String>,
}

/// A task as `/proc` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub task: u32,
    /// Whom it has its group from: the first thread of its process, or, for that, the parent process.
    pub origin: u32,
    /// When it started, in ticks since boot.
    pub started: u64,
}

#[derive(Debug, Clone)]
struct Known {
    started: u64,
    place: Place,
    /// Where it was until it was moved, and when that was.
    moved: Option<(u64, Place)>,
}

/// All tasks, each in one group.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    known: BTreeMap<u32, Known>,
}

impl Tasks {
    /// Takes note of who is there now.
    pub fn observe(&mut self, seen: &[Seen]) {
        let there: BTreeMap<u32, Seen> = seen.iter().map(|seen| (seen.task, *seen)).collect();
        // An id that was given to another task since then starts anew.
        self.known.retain(|task, known| there.get(task).is_some_and(|seen| seen.started == known.started));
        let mut new: Vec<Seen> =
            there.values().filter(|seen| !self.known.contains_key(&seen.task)).copied().collect();
        while !new.is_empty() {
            let before = new.len();
            new.retain(|seen| {
                let waits = there.contains_key(&seen.origin) && !self.known.contains_key(&seen.origin);
                if !waits || seen.origin == seen.task {
                    self.add(*seen);
                }
                waits && seen.origin != seen.task
            });
            if new.len() == before {
                // Origins in a circle: ids were given anew while we looked.
                new.drain(..).for_each(|seen| self.add(seen));
            }
        }
    }

    fn add(&mut self, seen: Seen) {
        let place = self.known.get(&seen.origin).map(|origin| match &origin.moved {
            Some((at, before)) if seen.started <= *at => before.clone(),
            _ => origin.place.clone(),
        });
        let known = Known { started: seen.started, place: place.unwrap_or_default(), moved: None };
        self.known.insert(seen.task, known);
    }

    /// Where a task is, if there is such a task.
    #[must_use]
    pub fn place(&self, task: u32) -> Option<&Place> {
        self.known.get(&task).map(|known| &known.place)
    }

    /// Moves a task at this moment, in ticks since boot.
    pub fn move_to(&mut self, task: u32, place: &Place, now: u64) {
        if let Some(known) = self.known.get_mut(&task)
            && known.place != *place
        {
            let before = std::mem::replace(&mut known.place, place.clone());
            known.moved = Some((now, before));
        }
    }

    /// The tasks for which `wanted` answers yes, in ascending order.
    pub fn inside<'a>(&'a self, wanted: impl Fn(&Place) -> bool + 'a) -> impl Iterator<Item = u32> + 'a {
        self.known.iter().filter(move |(_, known)| wanted(&known.place)).map(|(task, _)| *task)
    }

    /// Moves everybody for whom `from` answers yes.
    pub fn move_all(&mut self, from: impl Fn(&Place) -> bool, place: &Place, now: u64) {
        let tasks: Vec<_> = self.inside(from).collect();
        tasks.into_iter().for_each(|task| self.move_to(task, place, now));
    }
}

/// Where tasks are looked up: normally `/proc`.
#[derive(Debug, Clone)]
pub struct Procs {
    root: PathBuf,
}

/// Ticks in a second in which start times are counted (`USER_HZ`).
const TICKS: f64 = 100.0;

impl Procs {
    /// The processes listed in this folder.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Every thread of every process. Those that end meanwhile are left out.
    #[must_use]
    pub fn look(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for process in numbers(&self.root) {
            let folder = self.root.join(process.to_string()).join("task");
            for task in numbers(&folder) {
                let stat = fs::read_to_string(folder.join(task.to_string()).join("stat"));
                seen.extend(stat.ok().and_then(|stat| parse_stat(&stat, process, task)));
            }
        }
        seen
    }

    /// Ticks since boot, now.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float-to-integer cast saturates"
    )]
    pub fn now(&self) -> u64 {
        let uptime = fs::read_to_string(self.root.join("uptime")).unwrap_or_default();
        let seconds: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        (seconds * TICKS).ceil() as u64
    }
}

fn numbers(folder: &Path) -> Vec<u32> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).collect()
}

/// proc_pid_stat(5): the parent is field 4, the start field 22; the name before them, in parentheses, may hold anything.
fn parse_stat(stat: &str, process: u32, task: u32) -> Option<Seen> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(1);
    let parent: u32 = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Seen { task, origin: if task == process { parent } else { process }, started })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(task: u32, origin: u32, started: u64) -> Seen {
        Seen { task, origin, started }
    }

    fn group(name: &str) -> Place {
        Place { control: name.to_owned(), monitor: None }
    }

    #[test]
    fn children_begin_where_their_parents_were_when_they_were_made() {
        let mut tasks = Tasks::default();
        tasks.observe(&[seen(1, 0, 1)]);
        tasks.move_to(1, &group("a"), 10);
        // 2 was made before the move, 3 after it, 4 by 3, 5 by a parent that is not in sight.
        tasks.observe(&[seen(4, 3, 12), seen(3, 1, 11), seen(2, 1, 10), seen(1, 0, 1), seen(5, 99, 11)]);
        let place = |task| tasks.place(task).unwrap().control.as_str();
        assert_eq!([1, 2, 3, 4, 5].map(place), ["a", "", "a", "a", ""]);
    }

    #[test]
    fn an_id_that_is_used_again_is_another_task() {
        let mut tasks = Tasks::default();
        tasks.observe(&[seen(7, 0, 1)]);
        tasks.move_to(7, &group("a"), 2);
        tasks.observe(&[seen(7, 0, 5)]);
        assert_eq!(tasks.place(7), Some(&Place::default()));
        tasks.observe(&[]);
        assert_eq!(tasks.place(7), None);
    }

    #[test]
    fn a_circle_of_origins_ends() {
        let mut tasks = Tasks::default();
        tasks.observe(&[seen(1, 2, 1), seen(2, 1, 1), seen(3, 3, 1)]);
        assert_eq!(tasks.inside(|_| true).count(), 3);
    }

    #[test]
    fn a_name_may_hold_blanks_and_parentheses() {
        let stat = "12 (a ) b) S 3 12 12 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4567 0 0";
        assert_eq!(parse_stat(stat, 12, 12), Some(seen(12, 3, 4567)));
        assert_eq!(parse_stat(stat, 12, 13), Some(seen(13, 12, 4567)));
        assert_eq!(parse_stat("12 (a", 12, 12), None);
    }

    #[test]
    fn this_process_is_seen() {
        let procs = Procs::new(Path::new("/proc"));
        let me = procs.look().into_iter().find(|seen| seen.task == std::process::id()).unwrap();
        assert!(me.started <= procs.now());
    }
}
