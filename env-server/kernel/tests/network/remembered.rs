//! A control remembers what it saw; whatever others change since then is not missed.

use ballast_kernel::NetworkControl;

use crate::stage::{Container, Limits, NONE, mbits, on_a_limiting_host, run};

/// What one that has seen nothing yet sees.
fn afresh(control: &NetworkControl) -> Limits {
    NetworkControl::new(control.interface()).limit().unwrap()
}

/// Somebody else runs `commands`, with `IFB`, `BLOCK` and `HOST` for what they are called. The control then sees `limits`,
/// and repairs it.
fn assert_heard(commands: &[&str], limits: Limits) {
    on_a_limiting_host("what_others_change_is_heard", || {
        let container = Container::with_network("host0", 1000);
        let control = container.control();
        let ours = mbits(20.0, 30.0);
        assert_eq!(control.set_limit(ours).unwrap(), ours);
        assert_eq!(control.limit().unwrap(), ours);
        let index = control.interface().index;
        let (ifb, block) = (format!("ballast{index:x}"), (0xba11_a570 ^ index).to_string());
        for command in commands {
            let command = command.replace("IFB", &ifb).replace("BLOCK", &block);
            let (program, arguments) = command.split_once(' ').unwrap();
            run(program, arguments);
        }
        assert_eq!(control.limit().unwrap(), limits, "{commands:?}");
        assert_eq!(afresh(&control), limits, "{commands:?}");
        assert_eq!(control.set_limit(ours).unwrap(), ours);
        assert_eq!(afresh(&control), ours);
        assert_eq!(control.set_limit(NONE).unwrap(), NONE);
    });
}

#[test]
fn a_class_of_another_rate_is_heard() {
    assert_heard(
        &["tc class change dev host0 classid ba11:1 htb rate 7mbit ceil 7mbit quantum 65536"],
        mbits(20.0, 7.0),
    );
    assert_heard(
        &["tc class change dev IFB classid ba11:1 htb rate 7mbit ceil 7mbit quantum 65536"],
        mbits(7.0, 30.0),
    );
}

#[test]
fn a_removed_qdisc_is_heard() {
    assert_heard(&["tc qdisc del dev host0 root"], mbits(20.0, 0.0));
    assert_heard(&["tc qdisc del dev IFB root"], mbits(0.0, 30.0));
    assert_heard(&["tc qdisc del dev host0 ingress"], mbits(0.0, 30.0));
}

#[test]
fn a_removed_filter_is_heard() {
    assert_heard(&["tc filter del block BLOCK"], mbits(0.0, 30.0));
}

#[test]
fn a_removed_a_renamed_and_a_downed_ifb_are_heard() {
    assert_heard(&["ip link del dev IFB"], mbits(0.0, 30.0));
    assert_heard(&["ip link set dev IFB down", "ip link set dev IFB name other0"], mbits(0.0, 30.0));
    assert_heard(&["ip link set dev IFB down"], mbits(0.0, 30.0));
}

#[test]
fn a_device_that_takes_the_ifbs_name_is_heard() {
    on_a_limiting_host("a_device_that_takes_the_ifbs_name", || {
        let container = Container::with_network("host0", 1000);
        let control = container.control();
        assert!(control.obstacles().unwrap().egress.is_none());
        run("ip", "link add dummyveth type veth peer name other");
        assert!(control.obstacles().unwrap().egress.is_none());
        run("ip", &format!("link set dev dummyveth name ballast{:x}", control.interface().index));
        assert!(control.obstacles().unwrap().egress.is_some());
        run("ip", "link del dev other");
        assert!(control.obstacles().unwrap().egress.is_none());
    });
}

#[test]
fn more_news_than_the_kernel_keeps_is_no_news_lost() {
    on_a_limiting_host("more_news_than_the_kernel_keeps", || {
        let container = Container::with_network("host0", 1000);
        let control = container.control();
        control.set_limit(mbits(20.0, 30.0)).unwrap();
        run("ip", "link add noisy0 type veth peer name noisy1");
        let batch = std::env::temp_dir().join(format!("ballast-noise-{}", std::process::id()));
        std::fs::write(&batch, "link set dev noisy0 mtu 1400\nlink set dev noisy0 mtu 1500\n".repeat(1000))
            .unwrap();
        run("ip", &format!("-batch {}", batch.display()));
        std::fs::remove_file(batch).unwrap();
        // Nobody hears of this: the queue is full.
        run("tc", "class change dev host0 classid ba11:1 htb rate 7mbit ceil 7mbit quantum 65536");
        assert_eq!(control.limit().unwrap(), mbits(20.0, 7.0));
        assert_eq!(control.set_limit(mbits(20.0, 30.0)).unwrap(), mbits(20.0, 30.0));
        run("ip", "link del dev noisy0");
        control.set_limit(NONE).unwrap();
    });
}
