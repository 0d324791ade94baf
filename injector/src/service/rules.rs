//! What may be asked for from elsewhere: which places, which options, how much at once. Pure.
//!
//! Narrower than the command line, whose owner is root here: nothing that is a path, an address or a way around a guard.

use ballast_kernel::CgroupPath;

use crate::campaign::{
    Scheduled,
    cli::{Campaign, MOST_TOLD},
};

/// Kinds that, beside a cgroup, keep to the processors that it may use. The others' loads there are in nobody's limits, and meet all
/// who share the node's memory, caches and disks.
const CONFINED_BESIDE: &[&str] = &["cpu"];

/// Options of kinds that only say how the load is made.
const OPTIONS: &[&str] = &[
    "block",
    "direction",
    "file-size",
    "jitter",
    "means",
    "pattern",
    "queue",
    "read-share",
    "threads",
    "traffic",
];

/// Where may be injected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    /// In these cgroups, and all below them; beside them with what is confined there.
    pub(super) targets: Vec<CgroupPath>,
    /// On the node as a whole, and beside those cgroups with anything.
    pub(super) whole_node: bool,
}

impl Rules {
    /// What is wrong with a campaign, a sentence each, and of very many problems how many more there are. To be asked before the
    /// command line's parser, which may read files.
    pub(super) fn problems(&self, campaign: &Campaign) -> Vec<String> {
        let mut problems = campaign.schedule.iter().filter_map(|injection| self.problem(injection));
        let mut told: Vec<_> = problems.by_ref().take(MOST_TOLD).collect();
        let more = problems.count();
        told.extend((more > 0).then(|| format!("and {more} problems more")));
        told
    }

    fn problem(&self, injection: &Scheduled) -> Option<String> {
        let told = |problem: String| Some(format!("injection {}: {problem}", injection.number));
        if injection.url.is_some() {
            return told(
                "requests are not sent for others: `ballast-injector load` sends them from where you are"
                    .to_owned(),
            );
        }
        match (&injection.cgroup, injection.place) {
            (Some(cgroup), _) if !self.allow(cgroup) => {
                return told(format!(
                    "{cgroup} may not be injected into or beside here; what may be: {}",
                    self.in_words()
                ));
            }
            (Some(cgroup), "beside") if !self.whole_node && !is_confined_beside(&injection.kind) => {
                return told(format!(
                    "beside {cgroup} only {} may be injected, which keeps to its processors; other loads meet its neighbours, and \
                     take `whole_node`",
                    CONFINED_BESIDE.join(", ")
                ));
            }
            (None, "node") if !self.whole_node => {
                return told(format!(
                    "the node as a whole may not be injected on; what may be: {}",
                    self.in_words()
                ));
            }
            _ => {}
        }
        let flags = injection.options.iter().filter_map(|word| word.strip_prefix("--"));
        let stranger = flags.into_iter().find(|flag| !OPTIONS.contains(flag))?;
        told(format!(
            "the option {stranger:?} is not taken from elsewhere; those are: {}",
            OPTIONS.join(", ")
        ))
    }

    fn allow(&self, cgroup: &str) -> bool {
        self.targets.iter().any(|target| {
            cgroup.strip_prefix(target.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    fn in_words(&self) -> String {
        let targets = self.targets.iter().map(CgroupPath::as_str);
        targets.chain(self.whole_node.then_some("the node")).collect::<Vec<_>>().join(", ")
    }
}

fn is_confined_beside(kind: &str) -> bool {
    CONFINED_BESIDE.contains(&kind)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::{campaign::Plan, cli::Cli};

    fn campaign(text: &str) -> Campaign {
        Campaign::of(Plan::parse(text).unwrap(), None)
    }

    fn problems(keys: &str) -> Vec<String> {
        let rules = Rules {
            targets: ["shop", "lab/a"].iter().map(|path| path.parse().unwrap()).collect(),
            whole_node: false,
        };
        let text = format!("duration = '1m'\n[[injection]]\nat = '1s'\nduration = '2s'\n{keys}");
        rules.problems(&campaign(&text))
    }

    #[test]
    fn what_is_named_may_be_hurt_with_all_below_it_and_nothing_else() {
        for (place, allowed) in [
            ("target = 'shop'", true),
            ("beside = 'shop/geo/x'", true),
            ("target = 'lab/a'", true),
            ("target = 'shopping'", false),
            ("target = 'lab'", false),
            ("beside = 'lab/ab'", false),
            ("node = true", false),
            ("url = 'http://127.0.0.1/'", false),
        ] {
            let problems = problems(&format!("kind = 'cpu'\nintensity = '0.1'\n{place}"));
            assert_eq!(problems.is_empty(), allowed, "{place}: {problems:?}");
        }
    }

    #[test]
    fn no_option_that_is_a_path_or_a_way_around_a_guard_is_taken() {
        let disk = "kind = 'disk'\nintensity = '1MB/s'\ntarget = 'shop'";
        for (options, allowed) in [
            ("{ queue = 2, read-share = '50%' }", true),
            ("{ dir = '/etc' }", false),
            ("{ log = '/etc/passwd' }", false),
            ("{ state-dir = '/x' }", false),
            ("{ min-memory = '0B' }", false),
            ("{ until-stdin-closes = true }", false),
            ("{ label = 'x' }", false),
        ] {
            let problems = problems(&format!("{disk}\noptions = {options}"));
            assert_eq!(problems.is_empty(), allowed, "{options}: {problems:?}");
        }
    }

    #[test]
    fn not_every_problem_of_very_many_is_told() {
        let injection = "[[injection]]\nat = '1s'\nduration = '2s'\nkind = 'pause'\nnode = true\n";
        let told = |injections| {
            let rules = Rules { targets: vec!["shop".parse().unwrap()], whole_node: false };
            rules.problems(&campaign(&format!("duration = '1m'\n{}", injection.repeat(injections))))
        };
        assert_eq!(told(MOST_TOLD).len(), MOST_TOLD);
        let many = told(500);
        assert_eq!((many.len(), many[MOST_TOLD].as_str()), (MOST_TOLD + 1, "and 490 problems more"));
    }

    #[test]
    fn what_is_not_confined_to_a_target_needs_the_whole_node() {
        let beside = |kind: &str, whole_node| {
            let rules = Rules { targets: vec!["shop".parse().unwrap()], whole_node };
            let text = format!(
                "duration = '1m'\n[[injection]]\nat = '1s'\nduration = '2s'\nkind = '{kind}'\nbeside = 'shop'"
            );
            rules.problems(&campaign(&text))
        };
        // A new kind is to be thought about: it is refused until somebody has.
        let kinds: Vec<_> = Cli::command().get_subcommands().map(|kind| kind.get_name().to_owned()).collect();
        let confined: Vec<_> = kinds.iter().filter(|kind| beside(kind, false).is_empty()).collect();
        assert_eq!(confined, ["cpu"]);
        let told = beside("memory", false);
        assert!(told[0].contains("only cpu") && told[0].contains("`whole_node`"), "{told:?}");
        assert_eq!(beside("memory", true), Vec::<String>::new());
    }
}
