//! A Redis for tests: one that the caller names, or one of our own that can be killed.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::RedisStore;

/// A `redis-server` of our own on a port of its own; it ends with this value.
pub(super) struct OwnRedis {
    port: u16,
    folder: TempDir,
    child: Child,
}

impl OwnRedis {
    /// Starts one; without the program says that `test` is skipped.
    pub(super) async fn start(test: &str) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        match Self::spawn(port, &folder) {
            Ok(child) => {
                let server = Self { port, folder, child };
                server.ready().await;
                Some(server)
            }
            Err(error) => {
                eprintln!("SKIPPED {test}: redis-server cannot be started: {error}");
                None
            }
        }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as `kill -9` does.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, empty, on the same port.
    pub(super) async fn restart(&mut self) {
        self.child = Self::spawn(self.port, &self.folder).unwrap();
        self.ready().await;
    }

    /// Sends a signal by name, such as `STOP`.
    pub(super) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    fn spawn(port: u16, folder: &TempDir) -> std::io::Result<Child> {
        Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
            .arg(port.to_string())
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
    }

    async fn ready(&self) {
        for _ in 0..200 {
            if RedisStore::connect_checked(&self.url()).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("redis-server on port {} does not answer", self.port);
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        // It may have been killed before; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
