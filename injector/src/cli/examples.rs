//! Examples for the help of each subcommand: what a person wants, and how to ask for it.

pub(super) const CPU: &str = "\
Examples:
  Take 80 % of what geo may use, for 20 seconds:
    ballast-injector cpu --target ballast-demo/geo --intensity 80% --duration 20s
  Take 0.4 core, tell a program when it began, end with it:
    ballast-injector cpu --target docker/3f2a9c --intensity 0.4 --duration 5m --json --until-stdin-closes
  Keep the ground truth:
    ballast-injector cpu --target ballast-demo/geo --intensity 80% --duration 20s --log truth.jsonl
";

pub(super) const CAMPAIGN: &str = "\
Examples:
  A file to begin with:
    ballast-injector campaign --example > campaign.toml
  What would happen when, and then have it happen:
    ballast-injector campaign campaign.toml --dry-run
    ballast-injector campaign campaign.toml --log truth.jsonl
  Ten minutes by chance, the same for everybody who takes this seed:
    ballast-injector campaign --random --seed 7 --kinds cpu=20%..90%,pause --targets ballast-demo/geo --duration 10m
  The same with changes of the workload, of 50 to 500 requests/s:
    ballast-injector campaign --random --seed 7 --kinds cpu=20%..90%,load=50..500 --targets ballast-demo/geo \\
        --url http://127.0.0.1:8080/ --duration 10m
";

pub(super) const DISK: &str = "\
Examples:
  Take 80 % of the bytes per second that geo may write, for 20 seconds:
    ballast-injector disk --target ballast-demo/geo --intensity 80% --duration 20s
  Write 20 MB/s to geo's disk, in none of its limits:
    ballast-injector disk --beside ballast-demo/geo --intensity 20MB/s --duration 20s
  Make 200 requests a second, of which 70 % read, on the disk of /data:
    ballast-injector disk --node --intensity 200iops --read-share 70% --dir /data --duration 1m
";

pub(super) const PAUSE: &str = "\
Examples:
  Stop geo for five seconds:
    ballast-injector pause --target ballast-demo/geo --duration 5s
";

pub(super) const MEMBW: &str = "\
Examples:
  Move 4 GB in each second, on the whole node, for 20 seconds:
    ballast-injector membw --node --intensity 4GB/s --duration 20s
  Half of what the node can do, on the processors that geo may use, and outside of its limits:
    ballast-injector membw --beside ballast-demo/geo --intensity 50% --duration 20s
";

pub(super) const LLC: &str = "\
Examples:
  Keep half of the last-level cache in use, on the processors that geo may use:
    ballast-injector llc --beside ballast-demo/geo --intensity 50% --duration 20s
  A set of 16 MiB, swept by two threads:
    ballast-injector llc --node --intensity 16MiB --threads 2 --duration 20s
";

pub(super) const MEMORY: &str = "\
Examples:
  Take 30 % of what geo may use:
    ballast-injector memory --target ballast-demo/geo --intensity 30% --duration 1m
  Take 2 GiB of the node's memory, and leave 1 GiB available in any case:
    ballast-injector memory --node --intensity 2GiB --floor 1GiB --duration 1m
";

pub(super) const NET_BANDWIDTH: &str = "\
Examples:
  Leave geo 10 Mbit/s each way for half a minute:
    ballast-injector net-bandwidth --target ballast-demo/geo --intensity 10Mbit/s --duration 30s
  Leave it a quarter of the limit in force of what it receives:
    ballast-injector net-bandwidth --target ballast-demo/geo --intensity 25% --direction ingress --duration 30s
  Leave it what it may have, and compete for it: 50 Mbit/s of other traffic over the same veth, each way:
    ballast-injector net-bandwidth --traffic --target ballast-demo/geo --intensity 50Mbit/s --duration 30s
";

pub(super) const NET_DELAY: &str = "\
Examples:
  20 ms more each way, so 40 ms more for each request and answer:
    ballast-injector net-delay --target ballast-demo/geo --intensity 20ms --duration 30s
  100 ms, give or take 30, of what geo sends:
    ballast-injector net-delay --target ballast-demo/geo --intensity 100ms --jitter 30ms --direction egress --duration 1m
";

pub(super) const NET_LOSS: &str = "\
Examples:
  Lose one packet in twenty each way:
    ballast-injector net-loss --target ballast-demo/geo --intensity 5% --duration 30s
";

pub(super) const SERVE: &str = "\
Examples:
  Let programs of this machine inject on ballast-demo and all below it:
    ballast-injector serve --enable --targets ballast-demo
  Let those of other machines who have the token:
    ballast-injector serve --enable --targets docker --listen 10.0.0.7:7401 --act-token-file /etc/ballast/injector-act.token \\
      --tls-cert-file node.pem --tls-key-file node.key
  Begin a campaign, see it, and end it:
    ballast inject campaign.toml --injector http://127.0.0.1:7401
    curl -s http://127.0.0.1:7401/v1/campaigns
    curl -s -X DELETE http://127.0.0.1:7401/v1/campaigns/ID

When it is ready it prints one line of JSON: {\"listening\":\"http://127.0.0.1:7401\",\"node\":\"NAME\"}.
";
