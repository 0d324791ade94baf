//! A kubelet that answers one question, `/pods`, with what was recorded of real ones.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::layout::{BATCH_ID, BATCH_UID};

const RECORDED: &str = include_str!("../../../env-server/src/discovery/kubernetes/recorded/pods.json");

type Pods = Arc<Mutex<Value>>;

pub(crate) struct Kubelet {
    pods: Pods,
    pub(crate) url: String,
}

impl Kubelet {
    /// Serves on this thread's host for as long as its runtime lives.
    pub(crate) async fn start() -> Self {
        let mut list: Value = serde_json::from_str(RECORDED).unwrap();
        list["items"].as_array_mut().unwrap().push(batch());
        let pods = Arc::new(Mutex::new(list));
        let routes = Router::new().route("/pods", get(answer)).with_state(pods.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, routes).into_future());
        Self { pods, url }
    }

    /// The pod's only container has another id from now on.
    pub(crate) fn restart(&self, pod: &str, id: &str) {
        let mut pods = self.pods.lock().unwrap();
        let found = pods["items"].as_array_mut().unwrap().iter_mut().find(|item| is(item, pod)).unwrap();
        let container = &mut found["status"]["containerStatuses"][0];
        container["containerID"] = format!("containerd://{id}").into();
        container["restartCount"] = 1.into();
    }

    pub(crate) fn forget(&self, pod: &str) {
        self.pods.lock().unwrap()["items"].as_array_mut().unwrap().retain(|item| !is(item, pod));
    }
}

async fn answer(State(pods): State<Pods>) -> Json<Value> {
    Json(pods.lock().unwrap().clone())
}

fn is(item: &Value, pod: &str) -> bool {
    item["metadata"]["name"] == pod
}

/// Of a class that no recorded pod was of.
fn batch() -> Value {
    json!({
        "metadata": { "name": "batch", "namespace": "default", "uid": BATCH_UID, "labels": { "app": "batch" } },
        "spec": { "nodeName": "n1", "containers": [{ "name": "c", "image": "bb:1", "resources": {} }] },
        "status": {
            "phase": "Running",
            "qosClass": "BestEffort",
            "containerStatuses": [{
                "name": "c",
                "state": { "running": {} },
                "lastState": {},
                "ready": true,
                "restartCount": 0,
                "image": "bb:1",
                "imageID": "",
                "containerID": format!("containerd://{BATCH_ID}"),
            }],
        },
    })
}
