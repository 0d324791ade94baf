//! What cannot be done is said and changes nothing.

use ballast_kernel::network::Netem;
use nix::sys::signal::Signal;

use crate::{
    shared::signal,
    stage::{mbits, on_a_host, run},
    support::Stage,
};

#[test]
fn a_target_without_network_of_its_own_is_refused() {
    let Some(mut stage) = Stage::set("net-none") else { return };
    for kind in ["net-bandwidth --intensity 1Mbit/s", "net-delay --intensity 1ms", "net-loss --intensity 1%"]
    {
        let what: Vec<_> = kind.split_whitespace().chain(["--target"]).collect();
        let said = |stage: &Stage| {
            let output =
                stage.command_of(&what, "1s", &[]).stderr(std::process::Stdio::piped()).output().unwrap();
            assert_eq!(output.status.code(), Some(9));
            String::from_utf8(output.stderr).unwrap()
        };
        assert!(said(&stage).contains("it has no process"));
        stage.occupy("sleep", &["600"]);
        assert!(said(&stage).contains("it shares the host's network namespace"));
        stage.evict();
    }
}

#[test]
fn a_second_injection_is_refused_and_the_first_goes_on() {
    on_a_host("second", |scene| {
        let before = scene.dump();
        for kind in ["net-bandwidth --intensity 1Mbit/s", "net-delay --intensity 1ms --means relay"] {
            let running = scene.start(kind, "10m");
            let pids = running.pids();
            let during = scene.dump();
            let (code, said) = scene.refused(kind);
            assert!(code == Some(9) && said.contains("another injection is at it"), "{said}");
            scene.assert_same(&during);
            signal(pids[0], Signal::SIGTERM);
            assert_eq!(running.end().code, Some(7));
            scene.assert_as_before(&before, pids);
        }
    });
}

#[test]
fn what_others_have_there_stays_untouched() {
    on_a_host("clsact", |scene| {
        run("tc", "qdisc add dev veth-geo clsact");
        let before = scene.dump();
        let (code, said) = scene.refused("net-delay --intensity 1ms --means relay");
        assert!(code == Some(9) && said.contains("the qdisc clsact ffff:"), "{said}");
        scene.assert_same(&before);
    });
}

#[test]
fn a_relay_where_a_redirection_of_ballast_is_is_refused() {
    on_a_host("redirection", |scene| {
        scene.control().set_limit(mbits(20.0, 0.0)).unwrap();
        let before = scene.dump();
        let (code, said) = scene.refused("net-delay --intensity 1ms --means relay");
        assert!(code == Some(9) && said.contains("take --direction egress"), "{said}");
        scene.assert_same(&before);
    });
}

#[test]
fn netem_where_there_is_none_is_refused() {
    on_a_host("no-netem", |scene| {
        if Netem::probe("/proc".as_ref()).is_ok() {
            eprintln!("SKIPPED netem_where_there_is_none_is_refused: this kernel has netem");
            return;
        }
        let (code, said) = scene.refused("net-delay --intensity 1ms --means netem");
        assert!(code == Some(9) && said.contains("this kernel has no netem"), "{said}");
    });
}

#[test]
fn netem_beside_a_qdisc_of_others_is_refused() {
    on_a_host("netem-others", |scene| {
        if !crate::delay::has_netem("netem_beside_a_qdisc_of_others_is_refused") {
            return;
        }
        run("tc", "qdisc add dev veth-geo root tbf rate 100mbit burst 50k latency 50ms");
        let before = scene.dump();
        let (code, said) = scene.refused("net-delay --intensity 1ms --means netem");
        assert!(code == Some(9) && said.contains("the qdisc tbf"), "{said}");
        scene.assert_same(&before);
    });
}
