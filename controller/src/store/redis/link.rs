//! One connection to a Redis, made when needed and made again when lost.
//!
//! Must not know any key.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, Pipeline, RedisError, RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::sync::Mutex;

use super::super::StoreError;

/// How long connecting may take, and how long an answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A Redis at an address.
pub(super) struct Link {
    client: Client,
    address: String,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Link {
    /// Nothing is sent yet.
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        let invalid = |detail: String| StoreError::Url { url: without_password(url), detail };
        if !url.starts_with("redis://") {
            return Err(invalid("the scheme is not redis".to_owned()));
        }
        let client = Client::open(url).map_err(|error| invalid(error.to_string()))?;
        let address = client.get_connection_info().addr().to_string();
        Ok(Self { client, address, connection: Mutex::new(None) })
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends all commands at once and answers each one's reply. An error means that it is unknown which were executed.
    pub(super) async fn send(&self, pipeline: &Pipeline) -> Result<Vec<RedisResult<Value>>, StoreError> {
        let mut pipeline = pipeline.clone();
        pipeline.ignore_errors();
        let mut connection = self.connection().await?;
        match pipeline.query_async(&mut connection).await {
            Ok(replies) => Ok(replies),
            Err(cause) => {
                // Whatever broke, a reply may still be on its way: the next command must not read it as its own.
                *self.connection.lock().await = None;
                Err(self.failed("the command", cause))
            }
        }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, StoreError> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let connected = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let connection = connected.map_err(|cause| self.failed("the connection", cause))?;
        Ok(slot.insert(connection).clone())
    }

    fn failed(&self, operation: &str, cause: RedisError) -> StoreError {
        if cause.is_io_error() || cause.is_timeout() || cause.is_connection_dropped() {
            StoreError::Unreachable { address: self.address.clone(), cause }
        } else {
            self.refused(operation, cause)
        }
    }

    /// Redis answered, with an error.
    pub(super) fn refused(&self, operation: &str, cause: RedisError) -> StoreError {
        StoreError::Refused { address: self.address.clone(), operation: operation.to_owned(), cause }
    }
}

/// An address that may be shown: what stands before an `@` is replaced.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://***{}", &url[..scheme], &url[at..]),
        (None, Some(at)) => format!("***{}", &url[at..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_address() {
        for bad in [
            "",
            "localhost:6379",
            "http://127.0.0.1",
            "redis://",
            "redis://h:port",
            "redis://h/db",
            "rediss://h",
        ] {
            assert!(matches!(Link::new(bad), Err(StoreError::Url { .. })), "{bad}");
        }
        assert_eq!(Link::new("redis://127.0.0.1:7000/2").map(|link| link.address).unwrap(), "127.0.0.1:7000");
    }

    #[test]
    fn a_password_is_never_shown() {
        for bad in
            ["redis://me:secret@h:port", "http://me:secret@h", "me:secret@h", "redis://a:secret@secret@:x"]
        {
            let told = Link::new(bad).err().unwrap();
            assert!(
                !told.to_string().contains("secret") && !format!("{told:?}").contains("secret"),
                "{told}"
            );
        }
    }
}
