//! The servers in HAProxy's answer to `show stat` (its management guide, 9.1 "CSV format"): a table with a server in each line, of which
//! a line at the top names the columns.

use std::str::Lines;

use crate::scrape::SeriesKind;

/// The column of a line's proxy, of its server, and of what it is about.
const PROXY: &str = "pxname";
const SERVER: &str = "svname";
const TYPE: &str = "type";
/// What [`TYPE`] says of a server.
const IS_SERVER: &str = "2";
/// Columns looked at of a line; HAProxy 2.6 has 120.
const COLUMNS_MAX: usize = 1_024;

/// A column that is told, and the series it is told as: the name, labels and unit are those of HAProxy's own exporter for Prometheus.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Series {
    column: &'static str,
    /// The series' name.
    pub name: &'static str,
    /// Its label `code`, where it has one.
    pub code: Option<&'static str>,
    /// Counter or gauge.
    pub kind: SeriesKind,
    /// What one of the column is in the series' unit.
    factor: f64,
}

const MILLISECONDS: f64 = 1e-3;

const fn counter(column: &'static str, name: &'static str) -> Series {
    Series {
        column,
        name,
        code: None,
        kind: SeriesKind::Counter,
        factor: 1.0,
    }
}

const fn gauge(column: &'static str, name: &'static str, factor: f64) -> Series {
    Series {
        column,
        name,
        code: None,
        kind: SeriesKind::Gauge,
        factor,
    }
}

const fn responses(column: &'static str, code: &'static str) -> Series {
    Series {
        code: Some(code),
        ..counter(column, "haproxy_server_http_responses_total")
    }
}

/// Everything that is told of a server.
pub const SERIES: [Series; 17] = [
    counter("stot", "haproxy_server_sessions_total"),
    responses("hrsp_1xx", "1xx"),
    responses("hrsp_2xx", "2xx"),
    responses("hrsp_3xx", "3xx"),
    responses("hrsp_4xx", "4xx"),
    responses("hrsp_5xx", "5xx"),
    responses("hrsp_other", "other"),
    counter("econ", "haproxy_server_connection_errors_total"),
    counter("eresp", "haproxy_server_response_errors_total"),
    counter("wretr", "haproxy_server_retry_warnings_total"),
    counter("wredis", "haproxy_server_redispatch_warnings_total"),
    gauge("qcur", "haproxy_server_current_queue", 1.0),
    gauge("scur", "haproxy_server_current_sessions", 1.0),
    gauge(
        "qtime",
        "haproxy_server_queue_time_average_seconds",
        MILLISECONDS,
    ),
    gauge(
        "ctime",
        "haproxy_server_connect_time_average_seconds",
        MILLISECONDS,
    ),
    gauge(
        "rtime",
        "haproxy_server_response_time_average_seconds",
        MILLISECONDS,
    ),
    gauge(
        "ttime",
        "haproxy_server_total_time_average_seconds",
        MILLISECONDS,
    ),
];

/// A server of a backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// The backend, or `listen` section, it is in.
    pub proxy: String,
    /// Its name.
    pub name: String,
    /// Its numbers; one that HAProxy does not tell, as that of requests where it looks at none, is absent.
    pub values: Vec<(Series, f64)>,
}

/// The answer is no such table: it lacks a column, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no table of HAProxy's: its first line does not name the column {0}")]
pub struct NotATable(pub &'static str);

/// An answer to `show stat`.
pub struct Table<'a> {
    columns: Vec<&'a str>,
    lines: Lines<'a>,
}

impl<'a> Table<'a> {
    /// Reads the names of its columns.
    ///
    /// # Errors
    /// When the first line does not name any.
    pub fn of(answer: &'a str) -> Result<Self, NotATable> {
        let mut lines = answer.lines();
        let heading = lines.next().and_then(|line| line.strip_prefix("# "));
        let columns = heading.ok_or(NotATable(PROXY))?.split(',');
        Ok(Table {
            columns: columns.take(COLUMNS_MAX).collect(),
            lines,
        })
    }

    /// Which field of a line belongs to a column.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn place(&self, column: &'static str) -> Result<usize, NotATable> {
        let mut columns = self.columns.iter();
        columns
            .position(|it| *it == column)
            .ok_or(NotATable(column))
    }

    /// The lines below the first.
    pub fn rows(self) -> impl Iterator<Item = Row> {
        self.lines.map(|line| Row(fields(line)))
    }
}

/// The fields of one line.
pub struct Row(Vec<String>);

impl Row {
    /// One of them, and none where the line is cut short.
    #[must_use]
    pub fn text(&self, place: usize) -> Option<&str> {
        self.0.get(place).map(String::as_str)
    }
}

/// Gives each server of an answer to `give`. Lines of anything else, and those that do not say what they are of, are passed over.
///
/// # Errors
/// When the first line does not name the columns.
pub fn servers(answer: &str, mut give: impl FnMut(Server)) -> Result<(), NotATable> {
    let table = Table::of(answer)?;
    let (proxy, name, kind) = (
        table.place(PROXY)?,
        table.place(SERVER)?,
        table.place(TYPE)?,
    );
    let told = SERIES.map(|series| (series, table.place(series.column).ok()));
    for row in table.rows() {
        let field = |at: usize| row.text(at).filter(|text| !text.is_empty());
        let (Some(proxy), Some(name)) = (field(proxy), field(name)) else {
            continue;
        };
        if field(kind).is_none_or(|kind| kind != IS_SERVER) {
            continue;
        }
        let value = |(series, at): &(Series, Option<usize>)| {
            let number: f64 = field((*at)?)?.parse().ok()?;
            number
                .is_finite()
                .then_some((*series, number * series.factor))
        };
        give(Server {
            proxy: proxy.to_owned(),
            name: name.to_owned(),
            values: told.iter().filter_map(value).collect(),
        });
    }
    Ok(())
}

/// The fields of a line. One with a comma or a quote in it stands in quotes, and a quote within is written twice.
fn fields(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = Some(line);
    while let Some(text) = rest {
        if fields.len() == COLUMNS_MAX {
            break;
        }
        let (field, after) = match text.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => match text.split_once(',') {
                Some((field, after)) => (field.to_owned(), Some(after)),
                None => (text.to_owned(), None),
            },
        };
        fields.push(field);
        rest = after;
    }
    fields
}

/// A field after its first quote, and what follows the comma after its last.
fn unquoted(text: &str) -> (String, Option<&str>) {
    let mut field = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('"') {
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return (field, after.strip_prefix(',')),
        }
    }
    field.push_str(rest);
    (field, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str) -> Vec<Server> {
        let mut all = Vec::new();
        servers(answer, |server| all.push(server)).unwrap();
        all
    }

    fn value(server: &Server, name: &str) -> Option<f64> {
        let mut values = server.values.iter();
        values
            .find(|(it, _)| it.name == name)
            .map(|(_, value)| *value)
    }

    #[test]
    fn servers_are_read_by_the_names_of_their_columns() {
        let all = read(
            "# pxname,svname,rtime,qcur,type,last_chk,hrsp_5xx,new,\n\
             shop,FRONTEND,,,0,,1,,\n\
             shop,hs-0123456789ab,12,3,2,\"Layer4, \"\"refused\"\"\",7,x,\n\
             shop,BACKEND,5,5,1,,9,,\n\
             tcp,other,,0,2,,,,\n\
             \n",
        );
        let names: Vec<_> = all
            .iter()
            .map(|it| (it.proxy.as_str(), it.name.as_str()))
            .collect();
        assert_eq!(names, [("shop", "hs-0123456789ab"), ("tcp", "other")]);
        let time = "haproxy_server_response_time_average_seconds";
        assert_eq!(value(&all[0], time), Some(0.012));
        assert_eq!(value(&all[0], "haproxy_server_current_queue"), Some(3.0));
        let (errors, count) = all[0].values[0];
        assert_eq!((errors.code, count), (Some("5xx"), 7.0));
        assert_eq!(errors.kind, SeriesKind::Counter);
        assert_eq!(value(&all[1], time), None, "it is not told, and so no zero");
        assert_eq!(all[1].values.len(), 1);
    }

    #[test]
    fn what_is_no_table_is_said() {
        for (answer, missing) in [
            ("", PROXY),
            ("Unknown command.\n", PROXY),
            ("# a,b\n", PROXY),
            ("# pxname,svname\n", TYPE),
            ("HTTP/1.1 400 Bad request\n", PROXY),
        ] {
            let read = servers(answer, |_| {});
            assert_eq!(read, Err(NotATable(missing)), "{answer}");
        }
    }

    #[test]
    fn a_field_in_quotes_may_hold_commas_and_quotes() {
        assert_eq!(fields(r#"a,"b,""c""",,d"#), ["a", r#"b,"c""#, "", "d"]);
        assert_eq!(fields(r#""open, and no end"#), ["open, and no end"]);
        assert_eq!(fields(r#""a"b,c"#), ["a"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(# pxname,svname,type,qcur\n)?([a-z0-9\",.-]{0,20}\n?){0,9}|.*") {
            let _ = servers(&text, |server| {
                assert!(server.values.iter().all(|(_, value)| value.is_finite()));
            });
        }
    }
}
