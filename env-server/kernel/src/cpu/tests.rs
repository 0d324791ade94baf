//! The CPU files in folders of a test: what is read, what is refused, and which bytes are left behind.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A machine of one version with one cgroup, `p/c`.
struct Fake {
    folder: TempDir,
    control: CpuControl,
}

fn fake(version: CgroupVersion, files: &[(&str, &str)]) -> Fake {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let cgroup = root.join("p/c");
    fs::create_dir_all(&cgroup).unwrap();
    fs::write(root.join("cgroup.controllers"), "cpu").unwrap();
    for (name, text) in files {
        fs::write(cgroup.join(name), text).unwrap();
    }
    let mount = match version {
        CgroupVersion::V2 => format!("1 0 0:1 / {} rw - cgroup2 x rw\n", root.display()),
        _ => format!("1 0 0:1 / {} rw - cgroup x rw,cpu,cpuacct\n", root.display()),
    };
    let mountinfo = folder.path().join("mountinfo");
    fs::write(&mountinfo, mount).unwrap();
    let hierarchy = Hierarchy::find(&mountinfo).unwrap();
    let control = CpuControl::new(&hierarchy, &CgroupPath::new("p/c").unwrap());
    Fake { folder, control }
}

fn v1(quota: &str) -> Fake {
    let stat = "nr_periods 30\nnr_throttled 12\nthrottled_time 1500000000\nnr_bursts 0\n";
    fake(
        CgroupVersion::V1,
        &[
            ("cpu.cfs_quota_us", quota),
            ("cpu.cfs_period_us", "100000\n"),
            ("cpu.stat", stat),
            ("cpuacct.usage", "2500000000\n"),
        ],
    )
}

fn v2(max: &str) -> Fake {
    let stat = "usage_usec 2500000\nuser_usec 1\nnr_periods 30\nnr_throttled 12\nthrottled_usec 1500000\n";
    fake(CgroupVersion::V2, &[("cpu.max", max), ("cpu.stat", stat)])
}

fn cores(cores: f64) -> Limit<Cores> {
    Limit::At(Cores::new(cores).unwrap())
}

#[test]
fn what_is_in_force_is_not_written_again() {
    // The kernel's own text, which a write would change.
    let first = v1("20000\n");
    assert_eq!(first.control.set_limit(cores(0.2)).unwrap(), cores(0.2));
    assert_eq!(first.content("cpu.cfs_quota_us"), "20000\n");
    let second = v2("max 100000\n");
    assert_eq!(second.control.set_limit(Limit::Max).unwrap(), Limit::Max);
    assert_eq!(second.content("cpu.max"), "max 100000\n");
}

impl Fake {
    fn with(self, name: &str, text: &str) -> Self {
        fs::write(self.folder.path().join("root/p/c").join(name), text).unwrap();
        self
    }

    fn content(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("root/p/c").join(name)).unwrap()
    }
}

#[test]
fn both_versions_count_the_same() {
    let expected = CpuCounters {
        usage: Duration::from_millis(2500),
        periods: 30,
        throttled_periods: 12,
        throttled: Duration::from_millis(1500),
    };
    assert_eq!(v1("-1\n").control.counters().unwrap(), expected);
    assert_eq!(v2("max 100000\n").control.counters().unwrap(), expected);
}

#[test]
fn both_versions_read_their_limits() {
    assert_eq!(v1("-1\n").control.limit().unwrap(), Limit::Max);
    assert_eq!(v1("25000\n").control.limit().unwrap(), cores(0.25));
    assert_eq!(v2("max 100000\n").control.limit().unwrap(), Limit::Max);
    assert_eq!(v2("25000 50000\n").control.limit().unwrap(), cores(0.5));
}

#[test]
fn writing_keeps_the_period_and_rounds_to_microseconds() {
    let fake = v1("-1\n");
    assert_eq!(fake.control.set_limit(cores(0.123_456_7)).unwrap(), cores(0.123_46));
    assert_eq!((fake.content("cpu.cfs_quota_us"), fake.content("cpu.cfs_period_us")), {
        ("12346".to_owned(), "100000\n".to_owned())
    });
    assert_eq!(fake.control.set_limit(Limit::Max).unwrap(), Limit::Max);
    assert_eq!(fake.content("cpu.cfs_quota_us"), "-1");

    let fake = v2("max 50000\n");
    assert_eq!(fake.control.set_limit(cores(1.5)).unwrap(), cores(1.5));
    assert_eq!(fake.content("cpu.max"), "75000 50000");
    fake.control.set_limit(Limit::Max).unwrap();
    assert_eq!(fake.content("cpu.max"), "max 50000");
}

#[test]
fn too_little_is_refused_before_anything_is_written() {
    for (fake, file, before) in
        [(v1("-1\n"), "cpu.cfs_quota_us", "-1\n"), (v2("max 100000\n"), "cpu.max", "max 100000\n")]
    {
        let error = fake.control.set_limit(cores(0.009_99)).unwrap_err();
        assert!(error.to_string().contains("0.0100 cores"), "{error}");
        assert!(fake.control.rounded(cores(0.0)).is_err());
        assert_eq!(fake.content(file), before);
    }
}

#[test]
fn a_missing_file_is_never_created() {
    let fake = fake(CgroupVersion::V1, &[("cpu.cfs_period_us", "100000\n"), ("cpu.stat", "")]);
    let error = fake.control.set_limit(cores(1.0)).unwrap_err();
    assert!(error.is_gone() && error.to_string().contains("cpu.cfs_quota_us"), "{error}");
    assert_eq!(fs::read_dir(fake.folder.path().join("root/p/c")).unwrap().count(), 2);
}

#[test]
fn a_burst_above_the_new_quota_goes_down_with_it_and_comes_back() {
    let one = v1("80000\n").with("cpu.cfs_burst_us", "50000\n");
    let two = v2("80000 100000\n").with("cpu.max.burst", "50000\n");
    for (fake, burst) in [(one, "cpu.cfs_burst_us"), (two, "cpu.max.burst")] {
        let own = fake.control.bandwidth().unwrap();
        assert_eq!(own.burst_us(), Some(50_000));
        assert_eq!(fake.control.set_limit(cores(0.6)).unwrap(), cores(0.6));
        assert_eq!(fake.content(burst), "50000\n", "what fits is not written again");
        assert_eq!(fake.control.set_limit(cores(0.2)).unwrap(), cores(0.2));
        assert_eq!(fake.content(burst), "20000");
        let lent = fake.control.bandwidth().unwrap();
        assert_eq!(fake.control.change(lent, own.limit(), own.burst_us()).unwrap(), own.limit());
        assert_eq!(fake.control.bandwidth().unwrap(), own);
    }
}

#[test]
fn without_a_file_for_the_burst_there_is_none() {
    for (fake, burst) in [(v1("80000\n"), "cpu.cfs_burst_us"), (v2("80000 100000\n"), "cpu.max.burst")] {
        let before = fake.control.bandwidth().unwrap();
        assert_eq!(before.burst_us(), None);
        assert_eq!(fake.control.change(before, cores(0.2), Some(50_000)).unwrap(), cores(0.2));
        assert!(!fake.folder.path().join("root/p/c").join(burst).exists());
    }
}

#[test]
fn odd_files_are_named_with_their_content() {
    let error = v1("lots\n").control.limit().unwrap_err().to_string();
    assert!(error.contains("cpu.cfs_quota_us") && error.contains("lots"), "{error}");
    let error = v2("max 0\n").control.limit().unwrap_err().to_string();
    assert!(error.contains("cpu.max") && error.contains("max 0"), "{error}");
}

proptest! {
    /// Any limit either fails because it is too small, or what is read back is within half a microsecond per period.
    #[test]
    fn a_limit_is_refused_or_in_force(asked in 0.0f64..128.0, on_v2: bool) {
        let fake = if on_v2 { v2("max 100000\n") } else { v1("-1\n") };
        match fake.control.set_limit(cores(asked)) {
            Ok(Limit::At(got)) => prop_assert!((got.get() - asked).abs() <= 0.5e-5 + 1e-12),
            Ok(Limit::Max) => prop_assert!(false, "a limit became none"),
            Err(KernelError::LimitTooSmall { .. }) => prop_assert!(asked < 0.01),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn odd_content_never_panics(text in "\\PC{0,40}") {
        let (one, two) = (v1(&text), v2(&text));
        let _ = (one.control.limit(), two.control.limit(), two.control.rounded(cores(1.0)));
    }
}
