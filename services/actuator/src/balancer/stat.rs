//! The state of servers as the balancer tells it.

use std::fmt;
use std::net::SocketAddr;

use formats::haproxy::{NotATable, Row, Table};
use units::ContainerId;

/// What every server of ours is called by: others can tell them, and the container, from the name.
const PREFIX: &str = "hs-";
const ID_DIGITS: usize = 12;

/// The name of a container's server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ServerName(String);

impl ServerName {
    /// The one of this container.
    pub(crate) fn of(container: &ContainerId) -> Self {
        ServerName(format!("{PREFIX}{}", container.short()))
    }

    /// What the balancer calls a server, if that is a name that only actuators give.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        let is_id = digits.len() == ID_DIGITS && digits.chars().all(|it| it.is_ascii_hexdigit());
        is_id.then(|| ServerName(text.to_owned()))
    }
}

/// One server of one backend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ServerRef {
    pub(crate) backend: String,
    pub(crate) name: ServerName,
}

impl ServerRef {
    /// The one that a balancer tells of, if an actuator gave its name.
    pub(crate) fn of(server: &Server) -> Option<Self> {
        Some(ServerRef {
            backend: server.backend.clone(),
            name: ServerName::read(&server.name)?,
        })
    }

    /// What [`Self::to_string`] wrote.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (backend, name) = text.rsplit_once('/')?;
        Some(ServerRef {
            backend: backend.to_owned(),
            name: ServerName::read(name)?,
        })
    }
}

impl fmt::Display for ServerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.name.0)
    }
}

/// Whether a server gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It does.
    Up,
    /// None but those under way, and those that must come back to it.
    Draining,
    /// None at all.
    Maintenance,
    /// None, because its checks fail or have not succeeded yet.
    Down,
}

/// Whether the balancer's own check of a server succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// As often as it takes.
    Good,
    /// Not so, or not often enough.
    NotYet,
}

/// One server as the balancer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) backend: String,
    /// Its name there; [`ServerName::read`] says whether it is an actuator's.
    pub(crate) name: String,
    pub(crate) turn: Turn,
    pub(crate) checked: Checked,
    /// One that gets requests only while the others get none.
    pub(crate) is_backup: bool,
    /// Where requests go, where that is one address.
    pub(crate) address: Option<SocketAddr>,
    /// Requests under way and waiting for it; connections where the backend looks no deeper.
    pub(crate) sessions: u64,
}

/// Reads the answer to `show stat` about servers.
///
/// # Errors
/// When a column is missing.
pub(crate) fn read(answer: &str) -> Result<Vec<Server>, NotATable> {
    let table = Table::of(answer)?;
    let columns = Columns::of(&table)?;
    Ok(table
        .rows()
        .filter_map(|row| columns.server(&row))
        .collect())
}

/// At which place each column is.
struct Columns {
    backend: usize,
    name: usize,
    status: usize,
    queued: usize,
    sessions: usize,
    backup: usize,
    check: usize,
    rise: usize,
    health: usize,
    address: usize,
}

impl Columns {
    fn of(table: &Table<'_>) -> Result<Self, NotATable> {
        Ok(Columns {
            backend: table.place("pxname")?,
            name: table.place("svname")?,
            status: table.place("status")?,
            queued: table.place("qcur")?,
            sessions: table.place("scur")?,
            backup: table.place("bck")?,
            check: table.place("check_status")?,
            rise: table.place("check_rise")?,
            health: table.place("check_health")?,
            address: table.place("addr")?,
        })
    }

    /// The server of a line, and none of one that is cut short.
    fn server(&self, row: &Row) -> Option<Server> {
        let number = |place: usize| row.text(place)?.parse::<u64>().ok();
        let is_good = row.text(self.check)?.ends_with("OK")
            && number(self.health).unwrap_or(0) >= number(self.rise).unwrap_or(1);
        let waiting = number(self.queued).unwrap_or(0);
        Some(Server {
            backend: row.text(self.backend)?.to_owned(),
            name: row.text(self.name)?.to_owned(),
            turn: turn(row.text(self.status)?),
            checked: match is_good {
                true => Checked::Good,
                false => Checked::NotYet,
            },
            is_backup: number(self.backup) == Some(1),
            address: row.text(self.address).and_then(|it| it.parse().ok()),
            sessions: number(self.sessions).unwrap_or(0).saturating_add(waiting),
        })
    }
}

/// A word, and behind it how many checks are still to come.
fn turn(status: &str) -> Turn {
    match status.split(' ').next().unwrap_or_default() {
        "UP" => Turn::Up,
        // `no check`: it gets requests, whatever becomes of them.
        "no" => Turn::Up,
        "DRAIN" => Turn::Draining,
        "MAINT" => Turn::Maintenance,
        _ => Turn::Down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 2.6 answers, without columns that nobody reads.
    const HEADER: &str = "# pxname,svname,qcur,scur,status,bck,check_status,last_chk,check_rise,check_health,addr,-,";

    fn one(line: &str) -> Server {
        read(&format!("{HEADER}\n{line}\n\n")).unwrap().remove(0)
    }

    #[test]
    fn a_server_is_read_by_the_names_of_the_columns() {
        let expected = Server {
            backend: "web".to_owned(),
            name: "hs-0123456789ab".to_owned(),
            turn: Turn::Up,
            checked: Checked::Good,
            is_backup: false,
            address: Some("10.0.0.2:8080".parse().unwrap()),
            sessions: 3,
        };
        let up = one(
            "web,hs-0123456789ab,1,2,UP,0,L7OK,\"said \"\"ok\"\", twice\",2,4,10.0.0.2:8080,-,",
        );
        assert_eq!(up, expected);
        let initial = one("web,a,0,0,DRAIN -1/3,0,INI,,2,0,[::1]:80,-,");
        assert_eq!(
            (initial.turn, initial.checked),
            (Turn::Draining, Checked::NotYet)
        );
        assert_eq!(initial.address, Some("[::1]:80".parse().unwrap()));
        let once = one("web,a,0,0,DRAIN 1/3,0,L7OK,,2,1,10.0.0.2:80,-,");
        assert_eq!(once.checked, Checked::NotYet, "two in a row are asked for");
        for (status, turn) in [
            ("UP 1/3", Turn::Up),
            ("no check", Turn::Up),
            ("DRAIN", Turn::Draining),
            ("MAINT", Turn::Maintenance),
            ("MAINT (resolution)", Turn::Maintenance),
            ("DOWN 1/2", Turn::Down),
            ("NOLB", Turn::Down),
        ] {
            let server = one(&format!("web,a,0,0,{status},1,L4CON,,2,0,10.0.0.2:80,-,"));
            assert_eq!((server.turn, server.is_backup), (turn, true), "{status}");
        }
    }

    #[test]
    fn an_answer_without_a_column_is_none() {
        assert_eq!(read("# pxname,svname,qcur\n"), Err(NotATable("status")));
        assert_eq!(read("Unknown command\n"), Err(NotATable("pxname")));
        assert_eq!(read(&format!("{HEADER}\nweb,cut\n")), Ok(Vec::new()));
    }

    #[test]
    fn only_names_that_actuators_give_are_theirs() {
        let id =
            ContainerId::from("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
        let name = ServerName::of(&id);
        assert_eq!(ServerName::read("hs-0123456789ab"), Some(name.clone()));
        for other in ["hs-web", "web-1", "hs-0123456789abc", "hs-0123456789ax", ""] {
            assert_eq!(ServerName::read(other), None, "{other}");
        }
        let backend = "web".to_owned();
        let server = ServerRef { backend, name };
        assert_eq!(server.to_string(), "web/hs-0123456789ab");
        assert_eq!(ServerRef::read(&server.to_string()), Some(server));
    }
}
