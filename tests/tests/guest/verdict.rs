//! What the guest says, read. Pure; must not know where it comes from.

use std::fmt;

/// Before and after the output of a suite: `@begin NAME`, `@end NAME EXIT_CODE`.
pub(crate) const BEGIN: &str = "@begin ";
pub(crate) const END: &str = "@end ";
/// After the last one.
pub(crate) const OVER: &str = "@over";

/// What became of one suite.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) suite: String,
    /// How many passed, those that skipped themselves left out.
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
    /// Those that skipped themselves.
    pub(crate) skipped: Vec<String>,
    /// What was asked for and what was achieved, as told by the tests.
    pub(crate) figures: Vec<String>,
    /// Where tests failed and why.
    pub(crate) panics: Vec<String>,
    /// Absent when it never ended.
    pub(crate) exit_code: Option<i32>,
}

/// The suites in their order.
pub(crate) fn read(said: &str) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    for line in said.lines() {
        if let Some(suite) = line.strip_prefix(BEGIN) {
            verdicts.push(Verdict { suite: suite.to_owned(), ..Verdict::default() });
        } else if let Some(verdict) = verdicts.last_mut() {
            verdict.take_in(line);
        }
    }
    verdicts
}

impl Verdict {
    /// Whether anything in it went wrong, or nothing in it ran.
    pub(crate) fn is_bad(&self) -> bool {
        !self.failed.is_empty() || self.exit_code != Some(0) || self.passed == 0
    }

    fn take_in(&mut self, line: &str) {
        // A panic is told with its place, and what it says begins on the next line.
        let goes_on = self.panics.last().is_some_and(|last| last.ends_with(':'));
        if goes_on || (line.starts_with("thread '") && line.contains(" panicked at ")) {
            self.panics.push(line.to_owned());
        } else if let Some(code) = line.strip_prefix(END).and_then(|end| end.rsplit(' ').next()) {
            self.exit_code = code.parse().ok();
            self.passed -= self.skipped.len().min(self.passed);
        } else if let Some((test, result)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        {
            match result {
                "ok" => self.passed += 1,
                _ => self.failed.push(test.to_owned()),
            }
        } else if let Some((test, _)) = line.strip_prefix("SKIPPED ").and_then(|rest| rest.split_once(": ")) {
            self.skipped.push(test.to_owned());
        } else if line.contains("asked ") && !self.figures.iter().any(|known| known == line) {
            self.figures.push(line.to_owned());
        }
    }
}

/// Without the words by which `scripts/test` counts tests: the guest's are not its own.
impl fmt::Display for Verdict {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { suite, passed, failed, skipped, figures, panics, .. } = self;
        figures.iter().chain(panics).try_for_each(|line| writeln!(to, "guest: {line}"))?;
        write!(
            to,
            "guest: {suite}: {passed} fine, {} failed {failed:?}, not for it: {skipped:?}",
            failed.len()
        )
    }
}

#[test]
fn what_a_suite_says_is_counted() {
    let said = "boot\n@begin k/network\nrunning 3 tests\ntest a ... ok\ntest b ... FAILED\ntest c ... ok\n\nsuccesses:\n\n\
                ---- a stdout ----\nasked 1 Mbit/s, got 2\nSKIPPED c: v1 only\n\
                thread 'b' (7) panicked at b.rs:3:5:\n4 is not 5\nnote: more\n@end k/network 101\n@begin k/exact\n";
    let [network, exact] = read(said).try_into().unwrap();
    let expected = Verdict {
        suite: "k/network".to_owned(),
        passed: 1,
        failed: vec!["b".to_owned()],
        skipped: vec!["c".to_owned()],
        figures: vec!["asked 1 Mbit/s, got 2".to_owned()],
        panics: ["thread 'b' (7) panicked at b.rs:3:5:", "4 is not 5"].map(str::to_owned).to_vec(),
        exit_code: Some(101),
    };
    assert_eq!(network, expected);
    assert_eq!(exact.exit_code, None, "it never ended");
    let fine = Verdict { passed: 1, exit_code: Some(0), ..Verdict::default() };
    assert!(!fine.is_bad() && network.is_bad() && exact.is_bad() && Verdict { passed: 0, ..fine }.is_bad());
}
