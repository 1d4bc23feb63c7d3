//! HAProxy's Runtime API: what is asked of a balancer, and what its answers mean. Nothing here reloads it.

use std::net::SocketAddr;

use formats::haproxy::NotATable;

use super::BalancerError;
use super::socket::Socket;
use super::stat::{self, Server, ServerRef};

/// Every backend, the servers alone, all of them.
const SHOW: &str = "show stat -1 4 -1";

/// One balancer.
#[derive(Debug)]
pub(crate) struct Runtime {
    socket: Socket,
    /// What is written behind `check` for each server.
    options: String,
}

/// Whether a server is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    Yes,
    /// Connections to it are open.
    NotYet,
}

impl Runtime {
    pub(crate) fn new(socket: Socket, options: &str) -> Self {
        Runtime {
            socket,
            options: options.to_owned(),
        }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Every server of every backend.
    pub(crate) async fn servers(&self) -> Result<Vec<Server>, BalancerError> {
        let answer = self.socket.ask(SHOW).await?;
        stat::read(&answer).map_err(|NotATable(column)| {
            let socket = self.socket.clone();
            match answer.starts_with("# ") {
                true => BalancerError::Unreadable { socket, column },
                false => self.sort(SHOW, None, &answer),
            }
        })
    }

    /// Adds a server that is checked and gets no requests yet.
    pub(crate) async fn add(
        &self,
        server: &ServerRef,
        address: SocketAddr,
    ) -> Result<(), BalancerError> {
        let options = &self.options;
        let add = format!("add server {server} {address} check {options}");
        let answer = self.socket.ask(&add).await?;
        if !answer.contains("New server registered") {
            return Err(self.sort(&add, Some(server), &answer));
        }
        // A new server is in maintenance, where nothing checks it.
        self.drain(server).await?;
        self.silent(server, &format!("enable health {server}"))
            .await
    }

    /// Gives it requests.
    pub(crate) async fn ready(&self, server: &ServerRef) -> Result<(), BalancerError> {
        self.state(server, "ready").await
    }

    /// Gives it no new requests but from those that must come back to it.
    pub(crate) async fn drain(&self, server: &ServerRef) -> Result<(), BalancerError> {
        self.state(server, "drain").await
    }

    /// Gives it no new requests at all. Those under way go on.
    pub(crate) async fn rest(&self, server: &ServerRef) -> Result<(), BalancerError> {
        self.state(server, "maint").await
    }

    /// Removes a server that is in maintenance.
    pub(crate) async fn delete(&self, server: &ServerRef) -> Result<Gone, BalancerError> {
        let delete = format!("del server {server}");
        let answer = self.socket.ask(&delete).await?;
        let says = |words: &str| answer.contains(words);
        if says("Server deleted") || says("No such server") || says("No such backend") {
            return Ok(Gone::Yes);
        }
        match says("still has") {
            true => Ok(Gone::NotYet),
            false => Err(self.sort(&delete, Some(server), &answer)),
        }
    }

    /// Ends what is under way in a server that is not there any more.
    pub(crate) async fn hang_up(&self, server: &ServerRef) -> Result<(), BalancerError> {
        let hang_up = format!("shutdown sessions server {server}");
        self.silent(server, &hang_up).await
    }

    async fn state(&self, server: &ServerRef, state: &str) -> Result<(), BalancerError> {
        let set = format!("set server {server} state {state}");
        self.silent(server, &set).await
    }

    /// A command that is answered with nothing when it was done.
    async fn silent(&self, server: &ServerRef, command: &str) -> Result<(), BalancerError> {
        let answer = self.socket.ask(command).await?;
        match answer.trim().is_empty() {
            true => Ok(()),
            false => Err(self.sort(command, Some(server), &answer)),
        }
    }

    /// What an answer that was not hoped for means.
    fn sort(&self, command: &str, server: Option<&ServerRef>, answer: &str) -> BalancerError {
        let socket = self.socket.clone();
        let backend = server.map_or_else(String::new, |it| it.backend.clone());
        let says = |words: &str| answer.contains(words);
        if says("Permission denied") {
            BalancerError::NotAdmin { socket }
        } else if says("No such backend") {
            BalancerError::NoBackend { socket, backend }
        } else if says("dynamic load balancing") {
            BalancerError::Fixed { socket, backend }
        } else if says("experimental") || says("Unknown command") || says("only supports") {
            BalancerError::TooOld { socket }
        } else {
            let command = command.to_owned();
            let answer = answer.trim().chars().take(ANSWER_SHOWN).collect();
            BalancerError::Said {
                socket,
                command,
                answer,
            }
        }
    }
}

/// So much of an unexpected answer is told.
const ANSWER_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        let socket = Socket::parse("unix:///run/h.sock").unwrap();
        let runtime = Runtime::new(socket, "");
        let server = ServerRef::read("web/hs-0123456789ab").unwrap();
        for (answer, says) in [
            ("Permission denied\n\n", "level admin"),
            ("No such backend.\n", "no backend web"),
            (
                "Backend must use a dynamic load balancing to support dynamic servers.\n",
                "roundrobin",
            ),
            ("Unknown command, but maybe ...", "2.6"),
            ("Invalid address.\n", "Invalid address."),
        ] {
            let error = runtime.sort("add server", Some(&server), answer);
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.to_string().contains("/run/h.sock"), "{error}");
        }
    }
}
