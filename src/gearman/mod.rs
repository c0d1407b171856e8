//! A Gearman client over plain `std::net`, with TLS or without: every call takes a deadline.
//!
//! ```no_run
//! use gearman_mysql_udf::gearman::delivery::client::Client;
//! use gearman_mysql_udf::gearman::limits::Limits;
//! use gearman_mysql_udf::gearman::wire::job::{Job, Mode, Priority};
//! use std::time::Duration;
//!
//! let limits = Limits {
//!     connect: Duration::from_millis(250),
//!     submit: Duration::from_secs(1),
//!     run: Duration::from_secs(30),
//!     connections: 16,
//!     window_bytes: 16 << 20,
//!     transaction_bytes: 64 << 20,
//! };
//! let client = Client::new();
//! client.set_servers("localhost:4730", None)?;
//! let mode = Mode::Background(Priority::Normal);
//! let job = Job::new(mode, b"syncToRedis", b"{\"id\":1}", None)?;
//! let handle = client.submit(&job, &limits, &|| false)?.handle;
//! # Ok::<(), gearman_mysql_udf::error::Error>(())
//! ```

pub mod delivery;
pub mod limits;
pub mod servers;
pub mod wire;

mod thread;
