//! Numbers for paths, as FUSE wants them.
//!
//! Must not know what is at a path.

use std::collections::BTreeMap;

/// The number of the root.
const ROOT: u64 = 1;

/// Every path that was looked at has a number, until it is forgotten; no number is given twice.
#[derive(Debug)]
pub(super) struct Inodes {
    paths: BTreeMap<u64, Vec<String>>,
    numbers: BTreeMap<Vec<String>, u64>,
    next: u64,
}

impl Default for Inodes {
    fn default() -> Self {
        let (paths, numbers) = (BTreeMap::from([(ROOT, Vec::new())]), BTreeMap::from([(Vec::new(), ROOT)]));
        Self { paths, numbers, next: ROOT + 1 }
    }
}

impl Inodes {
    pub(super) fn path(&self, number: u64) -> Option<Vec<String>> {
        self.paths.get(&number).cloned()
    }

    pub(super) fn number(&mut self, path: &[String]) -> u64 {
        if let Some(number) = self.numbers.get(path) {
            return *number;
        }
        let number = self.next;
        self.next += 1;
        self.paths.insert(number, path.to_vec());
        self.numbers.insert(path.to_vec(), number);
        number
    }

    /// Forgets a path and all below it.
    pub(super) fn forget(&mut self, path: &[String]) {
        self.numbers.retain(|known, _| !known.starts_with(path));
        self.paths.retain(|_, known| !known.starts_with(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_never_given_twice() {
        let path = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        let mut inodes = Inodes::default();
        let (group, file) = (inodes.number(&path("g")), inodes.number(&path("g/tasks")));
        assert_eq!((inodes.number(&path("g")), inodes.path(file)), (group, Some(path("g/tasks"))));
        inodes.forget(&path("g"));
        assert_eq!((inodes.path(group), inodes.path(file)), (None, None));
        assert!(inodes.number(&path("g")) > file);
        assert_eq!(inodes.number(&[]), ROOT);
    }
}
