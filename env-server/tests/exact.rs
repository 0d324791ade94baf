//! All that can be lent of a container at once, by the real program: whatever ends a loan, each file of the kernel and each
//! interface says afterwards what it said before, to the last byte. Needs root.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use ballast_api::{LimitChange, Limits, NodeAgent, Plan};
use nix::sys::signal::Signal;
use support::{
    Server, name,
    own::{everything, lent, set_own_limits},
    stage::on_a_host,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-env-server");

async fn lend(server: &Server, generation: u64, limits: Limits) {
    let changes = vec![LimitChange { container: name("geo"), limits }];
    let plan = Plan { generation, lease_seconds: 600.0, dry_run: false, changes };
    let outcome = server.node().apply(&plan).await.unwrap();
    assert_eq!(outcome.applied[0].applied, limits);
}

#[test]
fn everything_lent_at_once_comes_back_to_the_last_byte() {
    let test = "everything_lent_at_once_comes_back_to_the_last_byte";
    on_a_host(test, async |scratch| {
        let has_disk = set_own_limits(&scratch);
        let own = everything(&scratch);
        println!("{test}: with a disk: {has_disk}, files: {:?}", own.0.keys());
        let mut server = Server::start(&scratch, &[]);
        lend(&server, 1, lent(has_disk, 1.0)).await;
        let changed = everything(&scratch);
        assert!(changed.0 != own.0 && changed.1 != own.1, "{changed:?}");
        server.node().restore(&name("geo")).await.unwrap();
        assert_eq!(everything(&scratch), own, "asked for");

        lend(&server, 2, lent(has_disk, 1.0)).await;
        server.signal(Signal::SIGKILL);
        server.wait();
        assert_eq!(everything(&scratch).0, changed.0, "nobody was there to restore");
        let mut server = Server::start(&scratch, &[]);
        assert_eq!(everything(&scratch), own, "after kill -9");

        lend(&server, 1, lent(has_disk, 1.0)).await;
        server.signal(Signal::SIGTERM);
        assert!(server.wait().success());
        assert_eq!(everything(&scratch), own, "at the end");
    });
}
