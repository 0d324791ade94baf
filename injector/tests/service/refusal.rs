//! What is not taken: refused with a reason, and nothing begins.

use std::process::Command;

use ballast_api::{
    NodeError,
    injector::{CampaignLease, CampaignOrder},
};

use crate::{
    shared::PROGRAM,
    support::{ACT, OBSERVE, Stage},
};

#[test]
fn it_does_not_serve_unless_it_is_enabled_and_told_what_may_be_hurt() {
    for (arguments, told) in [
        (&["--targets", "a"][..], "not enabled"),
        (&["--enable"], "nothing may be injected on"),
        (&["--enable", "--targets", "a", "--listen", "0.0.0.0:0"], "other machines"),
        (&["--enable", "--targets", "../a"], "../a"),
        (&["--enable", "--targets", "a", "--act-token-file", "/nowhere"], "/nowhere"),
        (&["--enable", "--targets", "a", "--log", "/nowhere/truth"], "cannot open the log /nowhere/truth"),
    ] {
        let output = Command::new(PROGRAM).arg("serve").args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(told) && output.stdout.is_empty(), "{told}: {errors}");
    }
}

#[tokio::test]
async fn strangers_see_nothing_and_observers_change_nothing() {
    let Some(stage) = Stage::set("strangers") else { return };
    let service = stage.serve();
    let order = stage.order("duration = '1s'\nkind = 'pause'");
    for token in [None, Some("act-0123456789abce")] {
        let client = service.client(token);
        assert!(matches!(client.info().await, Err(NodeError::Unauthenticated { .. })));
        assert!(matches!(client.begin(&order).await, Err(NodeError::Unauthenticated { .. })));
    }
    let observer = service.client(Some(OBSERVE));
    assert!(matches!(observer.begin(&order).await, Err(NodeError::Forbidden { .. })));
    assert!(matches!(observer.end("x").await, Err(NodeError::Forbidden { .. })));
    assert_eq!(stage.left(), Vec::<String>::new());
}

#[tokio::test]
async fn what_may_not_be_asked_from_elsewhere_is_named() {
    let Some(stage) = Stage::set("rules") else { return };
    let service = stage.serve();
    let client = service.client(Some(ACT));
    let pause = "duration = '1s'\nkind = 'pause'";
    let good = stage.order(pause);
    let text = |from: &str, to: &str| CampaignOrder {
        campaign: good.campaign.replacen(from, to, 1),
        ..good.clone()
    };
    let beside = stage
        .order("duration = '1s'\nkind = 'memory'\nintensity = '1MiB'")
        .campaign
        .replace("target =", "beside =");
    let beside = CampaignOrder { campaign: beside, ..good.clone() };
    let lease = |lease_seconds| CampaignOrder { lease_seconds, ..good.clone() };
    for (order, told) in [
        (text(stage.target(), "docker/x"), "docker/x may not be"),
        (text(stage.target(), &format!("{}/../x", stage.target())), "injection 1"),
        (text(&format!("target = '{}'", stage.target()), "node = true"), "the node as a whole"),
        (beside, "`whole_node`"),
        (text("name = 'test'", &format!("name = '{}'", "x".repeat(65))), "at most 64"),
        (text("'pause'", "'pause'\noptions = { log = '/etc/x' }"), "\"log\""),
        (text("'pause'", "'pause'\noptions = { 'threads=1 --log' = '/etc/x' }"), "injection 1"),
        (
            text(
                &format!("target = '{}'", stage.target()),
                "url = 'http://127.0.0.1/'\noptions = { trace = '/etc/shadow' }",
            ),
            "requests are not sent for others",
        ),
        (text("'pause'", "'restore'"), "restore"),
        (text("'pause'", "'serve'"), "serve"),
        (text("duration = '1m'", "duration = '1m"), "TOML"),
        (text("duration = '1s'", "duration = '2h'"), "at most 1h"),
        (lease(0.0), "lease_seconds"),
        (lease(3601.0), "lease_seconds"),
    ] {
        let error = client.begin(&order).await.unwrap_err();
        assert!(matches!(error, NodeError::Invalid { .. }), "{error:?}");
        assert!(error.to_string().contains(told), "{told}: {error}");
    }
    for error in [
        client.campaign("x").await.unwrap_err(),
        client.injections("x").await.unwrap_err(),
        client.end("x").await.unwrap_err(),
        client.renew("x", CampaignLease { lease_seconds: 1.0 }).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("no campaign \"x\""), "{error}");
    }
    assert_eq!(stage.left(), Vec::<String>::new());
}

#[tokio::test]
async fn so_many_campaigns_at_a_time() {
    let Some(stage) = Stage::set("many") else { return };
    let service = stage.serve();
    let client = service.client(Some(ACT));
    let late = CampaignOrder {
        campaign: stage.order("duration = '1s'\nkind = 'pause'").campaign.replace("'0s'", "'50s'"),
        ..stage.order("")
    };
    let most = client.info().await.unwrap().campaigns_at_a_time;
    let mut ids = Vec::new();
    for _ in 0..most {
        ids.push(client.begin(&late).await.unwrap().state.unwrap().id);
    }
    let error = client.begin(&late).await.unwrap_err();
    assert!(error.to_string().contains("run already"), "{error}");
    client.end(&ids[0]).await.unwrap();
    client.begin(&late).await.unwrap();
}

#[tokio::test]
async fn every_call_of_the_document_is_served() {
    let Some(stage) = Stage::set("document") else { return };
    let service = stage.serve();
    let document: serde_json::Value = serde_json::from_str(&service.get("/v1/openapi.json").await).unwrap();
    assert_eq!(document["info"]["title"], "Ballast injector");
    let paths = document["paths"].as_object().unwrap();
    let calls: usize = paths.values().map(|item| item.as_object().unwrap().len()).sum();
    assert_eq!(calls, 10);
    for path in paths.iter().filter(|(path, item)| !path.contains('{') && item.get("get").is_some()) {
        assert!(!service.get(path.0).await.is_empty(), "{}", path.0);
    }
    assert!(service.get("/metrics").await.contains("ballast_injector_campaigns 0"));
}
