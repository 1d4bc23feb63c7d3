//! A socket to the kernel's socket diagnosis inside the network namespace of a process.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use formats::diag::{self, Progress, States, Summary, TcpCounters, TcpState};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The kernel answers from memory: what takes longer will not come.
const ANSWER_DEADLINE: Duration = Duration::from_secs(1);
/// Datagrams of one dump: far more than all sockets that are kept fill.
const DATAGRAMS_MAX: usize = 4_096;
/// `/proc/PID/net/snmp` is some 1.5 KB.
const SNMP_BYTES_MAX: usize = 8 * 1024;

/// Why the sockets of a container cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketsError {
    /// The process is gone, or its namespace may not be looked at.
    #[error("cannot open {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Entering the namespace was refused.
    #[error("cannot enter the network namespace of {}", path.display())]
    Enter {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The kernel did not take the question, or give an answer.
    #[error("cannot ask the kernel for sockets")]
    Ask(#[source] io::Error),
    /// The answer is not what the kernel documents.
    #[error(transparent)]
    Answer(#[from] diag::DiagError),
}

impl SocketsError {
    /// Whether this process lacks the capability, so that it would fail for every container.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            SocketsError::Open { source, .. } | SocketsError::Enter { source, .. } => {
                source.kind() == io::ErrorKind::PermissionDenied
            }
            SocketsError::Ask(_) | SocketsError::Answer(_) => false,
        }
    }
}

/// Descriptors inside one namespace. They keep it alive: close them when the container dies.
#[derive(Debug)]
pub(crate) struct Namespace {
    diag: OwnedFd,
    /// Of the last question: what is left of an answer that was given up is told apart by it.
    sequence: u32,
    snmp: Option<File>,
}

impl Namespace {
    /// Opens the namespace of a process by its directory in `/proc`.
    ///
    /// # Errors
    /// When the process is gone, or this one may not enter: that takes `CAP_SYS_ADMIN`, and `CAP_SYS_PTRACE` for other users'.
    pub(crate) fn open(process: &Path) -> Result<Namespace, SocketsError> {
        let path = process.join("ns/net");
        let link = File::open(&path).map_err(|source| SocketsError::Open {
            path: path.clone(),
            source,
        })?;
        // Entering changes the thread for good, so it is one that ends with this.
        let diag = std::thread::scope(|scope| {
            let entered = scope.spawn(|| -> Result<OwnedFd, SocketsError> {
                move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network)).map_err(
                    |error| SocketsError::Enter {
                        path: path.clone(),
                        source: error.into(),
                    },
                )?;
                socket_with(
                    AddressFamily::NETLINK,
                    SocketType::DGRAM,
                    SocketFlags::CLOEXEC,
                    Some(netlink::SOCK_DIAG),
                )
                .map_err(|error| SocketsError::Ask(error.into()))
            });
            entered
                .join()
                .unwrap_or_else(|_| Err(SocketsError::Ask(io::Error::other("the thread failed"))))
        })?;
        rustix::net::sockopt::set_socket_timeout(
            &diag,
            rustix::net::sockopt::Timeout::Recv,
            Some(ANSWER_DEADLINE),
        )
        .map_err(|error| SocketsError::Ask(error.into()))?;
        Ok(Namespace {
            diag,
            sequence: 0,
            snmp: File::open(process.join("net/snmp")).ok(),
        })
    }

    /// Reads all TCP sockets of the namespace. `buffer` has room for one datagram.
    ///
    /// # Errors
    /// When the kernel refuses, or answers otherwise than it documents.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<diag::SocketsRead, SocketsError> {
        let states = States::of(&[
            TcpState::Established,
            TcpState::SynSent,
            TcpState::SynRecv,
            TcpState::FinWait1,
            TcpState::FinWait2,
            TcpState::TimeWait,
            TcpState::CloseWait,
            TcpState::LastAck,
            TcpState::Listen,
            TcpState::Closing,
        ]);
        let ask = |error: rustix::io::Errno| SocketsError::Ask(error.into());
        self.sequence = self.sequence.wrapping_add(1);
        send(
            &self.diag,
            &diag::request(states, self.sequence),
            SendFlags::empty(),
        )
        .map_err(ask)?;
        let mut summary = Summary::new();
        for _ in 0..DATAGRAMS_MAX {
            let (len, _) = recv(&self.diag, &mut *buffer, RecvFlags::empty()).map_err(ask)?;
            let datagram = &buffer[..len.min(buffer.len())];
            match diag::read(datagram, self.sequence, |socket| summary.add(socket))? {
                Progress::More => {}
                Progress::Done => break,
            }
        }
        Ok(summary.finish())
    }

    /// What TCP of the namespace did since it began. This is cheap; a dump walks the connections of the whole host.
    pub(crate) fn counters(&self) -> Option<TcpCounters> {
        let mut text = [0; SNMP_BYTES_MAX];
        let len = self.snmp.as_ref()?.read_at(&mut text, 0).ok()?;
        diag::tcp_counters(&text[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_sockets_of_this_process_are_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut namespace = Namespace::open(Path::new("/proc/self")).unwrap();
        let mut buffer = vec![0; diag::RECEIVE_BYTES];
        let read = namespace.read(&mut buffer).unwrap();
        assert!(read.states.get(TcpState::Listen) > 0, "{listener:?}");
        assert!(namespace.counters().is_some());
    }

    #[test]
    fn a_process_that_is_gone_is_named() {
        let error = Namespace::open(Path::new("/proc/0")).unwrap_err();
        assert_eq!(error.to_string(), "cannot open /proc/0/ns/net");
        assert!(!error.is_refusal());
    }
}
