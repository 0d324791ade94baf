//! A target whose owner ends or removes it in the midst.

use std::time::Duration;

use crate::{shared::pause, support::Stage};

#[test]
fn a_target_that_empties_ends_the_injection() {
    let Some(mut stage) = Stage::set("emptied") else { return };
    stage.occupy("sleep", &["600"]);
    let running = stage.inject("0.3", "10m", &[]);
    let pids = running.pids();
    pause(Duration::from_millis(300));
    stage.evict();
    let ended = running.end();
    assert_eq!((ended.code, &ended.report["ending"]), (Some(5), &"target_gone".into()));
    assert_eq!(stage.left(pids), Vec::<String>::new());
}

#[test]
fn a_target_that_is_removed_by_force_ends_the_injection() {
    let Some(mut stage) = Stage::set("removed") else { return };
    stage.occupy("sleep", &["600"]);
    let running = stage.inject("0.3", "10m", &[]);
    let pids = running.pids();
    // As an owner does: kill all that is inside, remove the folders.
    stage.cgroup.kill_all().unwrap();
    stage.cgroup.remove().unwrap();
    let ended = running.end();
    assert_eq!((ended.code, &ended.report["ending"]), (Some(5), &"target_gone".into()));
    assert_eq!(stage.left(pids), Vec::<String>::new());
}

#[test]
fn a_target_whose_process_is_replaced_goes_on_suffering() {
    let Some(mut stage) = Stage::set("replaced") else { return };
    stage.occupy("sleep", &["600"]);
    let running = stage.inject("0.3", "1s", &[]);
    stage.occupy("sleep", &["601"]);
    assert_eq!(running.end().code, Some(0));
}

#[test]
fn a_target_made_anew_is_another() {
    let Some(mut stage) = Stage::set("anew") else { return };
    for (place, what) in [("--beside", &["cpu", "--intensity", "0.3"][..]), ("--target", &["pause"])] {
        stage.occupy("sleep", &["600"]);
        let running = stage.start(&[what, &[place]].concat(), "10m", &[]);
        let pids = running.pids();
        let name = stage.cgroup.path().to_string();
        stage.cgroup.kill_all().unwrap();
        stage.evict();
        stage.cgroup.remove().unwrap();
        stage.cgroup = stage.tree.create(&name).unwrap();
        stage.occupy("sleep", &["601"]);
        let ended = running.end();
        assert_eq!((ended.code, &ended.report["ending"]), (Some(5), &"target_gone".into()), "{what:?}");
        assert_eq!(stage.left(pids), Vec::<String>::new());
        stage.evict();
    }
}
