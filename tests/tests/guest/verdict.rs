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
    fn take_in(&mut self, line: &str) {
        if let Some(code) = line.strip_prefix(END).and_then(|end| end.rsplit(' ').next()) {
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
        let Self { suite, passed, failed, skipped, figures, .. } = self;
        figures.iter().try_for_each(|figure| writeln!(to, "guest: {figure}"))?;
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
                ---- a stdout ----\nasked 1 Mbit/s, got 2\nSKIPPED c: v1 only\n@end k/network 101\n@begin k/exact\n";
    let [network, exact] = read(said).try_into().unwrap();
    let expected = Verdict {
        suite: "k/network".to_owned(),
        passed: 1,
        failed: vec!["b".to_owned()],
        skipped: vec!["c".to_owned()],
        figures: vec!["asked 1 Mbit/s, got 2".to_owned()],
        exit_code: Some(101),
    };
    assert_eq!(network, expected);
    assert_eq!(exact.exit_code, None, "it never ended");
}
