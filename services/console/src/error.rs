//! What ends the console.

use std::net::SocketAddr;

/// A fatal error of the console.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port cannot be had.
    #[error("console cannot listen on {address}; set console.listen to a free address")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP server ended.
    #[error("console's HTTP server ended")]
    Serve(#[source] std::io::Error),
    /// A topic cannot be followed.
    #[error("console cannot follow topic {topic}")]
    Follow {
        /// The topic.
        topic: &'static str,
        /// Why not.
        #[source]
        source: bus::BusError,
    },
}
