//! What others have there stays as it is.

use ballast_kernel::KernelError;

use crate::stage::{Container, NONE, dump, mbits, on_a_limiting_host, run};

/// With `commands` of tc done by others, `refused` cannot be limited, the other way can, and theirs never changes.
pub(crate) fn assert_untouched(commands: &[&str], refused: &str, found: &str) {
    on_a_limiting_host("what_others_have_is_untouched", || {
        let container = Container::with_network("host0", 1000);
        let control = container.control();
        commands.iter().for_each(|command| {
            run("tc", command);
        });
        let theirs = dump();
        for both in [mbits(20.0, 20.0), mbits(30.0, 10.0)] {
            let error = control.set_limit(both).unwrap_err();
            assert!(matches!(error, KernelError::NotOurs { .. }), "{error}");
            let sentence = error.to_string();
            assert!(sentence.starts_with(refused) && sentence.contains(found), "{sentence}");
            assert_eq!(control.rounded(both).unwrap_err().to_string(), sentence);
            assert_eq!(dump(), theirs);
        }
        let obstacles = control.obstacles().unwrap();
        assert_eq!(
            (obstacles.egress.is_some(), obstacles.ingress.is_some()),
            (refused == "egress", refused == "ingress")
        );
        let other_way = if refused == "egress" { mbits(0.0, 20.0) } else { mbits(20.0, 0.0) };
        assert_eq!(control.set_limit(other_way).unwrap(), other_way);
        assert_eq!(control.set_limit(NONE).unwrap(), NONE);
        assert_eq!(dump(), theirs);
    });
}

#[test]
fn an_htb_of_others_is_untouched() {
    assert_untouched(
        &[
            "qdisc add dev host0 root handle 1: htb default 1",
            "class add dev host0 classid 1:1 htb rate 5mbit",
        ],
        "ingress",
        "the qdisc htb 1:",
    );
}

#[test]
fn a_tbf_with_our_handle_is_untouched() {
    let command = "qdisc add dev host0 root handle ba11: tbf rate 5mbit burst 10k latency 50ms";
    assert_untouched(&[command], "ingress", "the qdisc tbf ba11:");
}

#[test]
fn a_clsact_of_others_is_untouched() {
    assert_untouched(&["qdisc add dev host0 clsact"], "egress", "the qdisc clsact ffff:");
}

#[test]
fn an_ingress_qdisc_of_others_is_untouched() {
    assert_untouched(
        &[
            "qdisc add dev host0 ingress",
            "filter add dev host0 parent ffff: protocol ip u32 match u32 0 0 action mirred egress redirect dev lo",
        ],
        "egress",
        "the qdisc ingress ffff:",
    );
}

#[test]
fn a_device_of_others_with_our_name_is_untouched() {
    on_a_limiting_host("a_device_of_others_with_our_name", || {
        let container = Container::with_network("host0", 1000);
        let control = container.control();
        run("ip", &format!("link add ballast{:x} type veth peer name other", control.interface().index));
        let theirs = dump();
        let error = control.set_limit(mbits(20.0, 20.0)).unwrap_err().to_string();
        assert!(error.starts_with("egress") && error.contains("no ifb device"), "{error}");
        assert_eq!(control.set_limit(mbits(0.0, 20.0)).unwrap(), mbits(0.0, 20.0));
        control.set_limit(NONE).unwrap();
        assert_eq!(dump(), theirs);
    });
}
