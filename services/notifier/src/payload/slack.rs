//! Slack incoming webhooks: blocks, with a plain text that serves notifications and screen readers.
//!
//! Names, reasons and log text come from containers and are not trusted: `&`, `<` and `>` are escaped, so nothing in
//! them can call a channel or forge a link, and `verbatim` keeps Slack from making links of bare addresses.

use serde::Serialize;
use units::{Phase, PlanEntry, Severity, Timestamp};

use super::text::{clip_line, human_duration, slack_escape};
use super::{Endpoint, Message, evidence_line, headline, plan_standing, reason};
use crate::notice::{Change, Condition, Notice};

/// Slack's limit on the text of a header.
const MAX_HEADER_CHARS: usize = 150;
/// Slack's limit on the text of a section is 3000; the sum of a message's blocks has a limit of its own (refused
/// from about 13 000 on), so each part takes less than it may.
const MAX_SECTION_CHARS: usize = 2_500;
/// Slack's limit on a field is 2000; names need less.
const MAX_FIELD_CHARS: usize = 250;
const MAX_EVIDENCE: usize = 5;
const MAX_STEPS: usize = 8;
const DIGEST_LINES_PER_SECTION: usize = 5;

/// The message for a notice.
pub(crate) fn message(notice: &Notice) -> Message {
    let line = format!(
        "{} {}",
        icon(notice),
        clip_line(&headline(notice), MAX_HEADER_CHARS - 30)
    );
    let mut blocks = vec![
        Block::Header {
            text: Text::Plain {
                text: line,
                emoji: true,
            },
        },
        section(&slack_escape(reason(notice), MAX_SECTION_CHARS)),
    ];
    let fields = fields(notice);
    if !fields.is_empty() {
        blocks.push(Block::Section {
            text: None,
            fields: Some(fields),
        });
    }
    let details = details(notice);
    if !details.is_empty() {
        blocks.push(section(&details));
    }
    blocks.push(Block::Context {
        elements: vec![mrkdwn(context(notice))],
    });
    encode(headline(notice), blocks)
}

/// The message for several notices that waited: Slack takes one message a second, and asks to put together what queues.
pub(crate) fn digest(notices: &[&Notice]) -> Message {
    let lines: Vec<String> = notices.iter().map(|notice| digest_line(notice)).collect();
    let title = format!(":card_index_dividers: {} notifications", notices.len());
    let mut blocks = vec![Block::Header {
        text: Text::Plain {
            text: title,
            emoji: true,
        },
    }];
    blocks.extend(
        lines
            .chunks(DIGEST_LINES_PER_SECTION)
            .map(|lines| section(&lines.join("\n"))),
    );
    let headlines: Vec<_> = notices.iter().map(|notice| headline(notice)).collect();
    let text = format!("{} notifications: {}", notices.len(), headlines.join("; "));
    encode(text, blocks)
}

fn digest_line(notice: &Notice) -> String {
    let title = slack_escape(&clip_line(&headline(notice), 150), 180);
    let why = slack_escape(&clip_line(reason(notice), 150), 180);
    format!("{} *{title}*: {why}", icon(notice))
}

fn encode(text: String, blocks: Vec<Block>) -> Message {
    let post = Post {
        text: slack_escape(&clip_line(&text, 300), 1_000),
        blocks,
        unfurl_links: false,
        unfurl_media: false,
    };
    let body = serde_json::to_vec(&post)
        .expect("the message has text keys and no failing serialiser, so JSON takes it");
    Message {
        endpoint: Endpoint::Main,
        body,
    }
}

#[derive(Serialize)]
struct Post {
    text: String,
    blocks: Vec<Block>,
    unfurl_links: bool,
    unfurl_media: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Header {
        text: Text,
    },
    Section {
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<Text>,
        #[serde(skip_serializing_if = "Option::is_none")]
        fields: Option<Vec<Text>>,
    },
    Context {
        elements: Vec<Text>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Text {
    #[serde(rename = "plain_text")]
    Plain { text: String, emoji: bool },
    #[serde(rename = "mrkdwn")]
    Markdown { text: String, verbatim: bool },
}

fn mrkdwn(text: String) -> Text {
    Text::Markdown {
        text,
        verbatim: true,
    }
}

fn section(text: &str) -> Block {
    // Slack refuses an empty text.
    let text = if text.trim().is_empty() {
        "(no reason given)"
    } else {
        text
    };
    Block::Section {
        text: Some(mrkdwn(text.to_owned())),
        fields: None,
    }
}

fn field(name: &str, value: &str) -> Text {
    mrkdwn(format!(
        "*{name}*\n{}",
        slack_escape(&clip_line(value, MAX_FIELD_CHARS), MAX_FIELD_CHARS)
    ))
}

/// Shape and word as well as colour, for those who do not see it.
fn icon(notice: &Notice) -> &'static str {
    match notice {
        Notice::Condition {
            change: Change::Resolved,
            ..
        } => ":white_check_mark:",
        Notice::Condition { condition, .. } => match condition.severity() {
            Severity::Critical => ":rotating_light:",
            Severity::Warning => ":warning:",
            Severity::Info => ":information_source:",
        },
        Notice::Plan(_) => ":wrench:",
        Notice::Test { .. } => ":wave:",
    }
}

fn fields(notice: &Notice) -> Vec<Text> {
    match notice {
        Notice::Condition {
            condition: Condition::Signal(signal),
            change,
        } => {
            let mut fields = vec![field("Severity", signal.severity.as_str())];
            let subject = &signal.subject;
            fields.extend(
                subject
                    .service
                    .as_ref()
                    .map(|it| field("Service", it.as_str())),
            );
            fields.extend(
                subject
                    .name
                    .as_ref()
                    .map(|it| field("Container", it.as_str())),
            );
            fields.extend(subject.node.as_ref().map(|it| field("Node", it.as_str())));
            fields.push(field("Confidence", signal.confidence.as_str()));
            if *change == Change::Resolved {
                let lasted = human_duration(signal.at.since(signal.opened_at));
                fields.push(field("Lasted", &lasted));
            }
            fields
        }
        Notice::Condition {
            condition: Condition::Breaker(entry),
            ..
        } => {
            let names: Vec<_> = entry
                .services
                .iter()
                .take(20)
                .map(|it| it.as_str())
                .collect();
            match names.is_empty() {
                true => Vec::new(),
                false => vec![field("Services", &names.join(", "))],
            }
        }
        Notice::Plan(entry) => {
            let plan = &entry.plan;
            let mut fields = vec![
                field("Service", plan.service.as_str()),
                field("Action", plan.kind.as_str()),
                field("State", plan_standing(entry)),
                field("Expected", &plan.expected.text),
            ];
            if entry.phase == Phase::Suggested && !plan.steps.is_empty() {
                let command = format!("homeostat actions approve {}", plan.id);
                fields.push(field("To have it done", &command));
            }
            fields
        }
        Notice::Test { .. } => Vec::new(),
    }
}

fn details(notice: &Notice) -> String {
    let lines: Vec<String> = match notice {
        Notice::Condition {
            change: Change::Resolved,
            ..
        } => Vec::new(),
        Notice::Condition {
            condition: Condition::Signal(signal),
            ..
        } => signal
            .evidence
            .iter()
            .take(MAX_EVIDENCE)
            .map(evidence_line)
            .collect(),
        Notice::Plan(entry) => steps(entry),
        Notice::Condition {
            condition: Condition::Breaker(_),
            ..
        }
        | Notice::Test { .. } => Vec::new(),
    };
    let lines: Vec<_> = lines
        .iter()
        .map(|line| format!("• {}", slack_escape(&clip_line(line, 300), 300)))
        .collect();
    lines.join("\n")
}

fn steps(entry: &PlanEntry) -> Vec<String> {
    let steps = &entry.plan.steps;
    let shown = steps
        .iter()
        .take(MAX_STEPS)
        .map(|step| format!("{} on {}", step.action, step.node));
    let mut lines: Vec<_> = shown.collect();
    if steps.len() > MAX_STEPS {
        lines.push(format!("and {} more", steps.len() - MAX_STEPS));
    }
    lines
}

fn context(notice: &Notice) -> String {
    let at = notice.at();
    let id = match notice {
        Notice::Condition {
            condition: Condition::Signal(signal),
            ..
        } => signal.id.as_str(),
        Notice::Plan(entry) => entry.plan.id.as_str(),
        Notice::Condition {
            condition: Condition::Breaker(_),
            ..
        }
        | Notice::Test { .. } => "",
    };
    let id = slack_escape(&clip_line(id, MAX_FIELD_CHARS), MAX_FIELD_CHARS);
    let line = format!("Homeostat  {}  {id}", slack_date(at));
    line.trim_end().to_owned()
}

/// Shown in each reader's own time zone, with UTC where that is not possible.
fn slack_date(at: Timestamp) -> String {
    let seconds = at.as_millis().div_euclid(1_000);
    format!("<!date^{seconds}^{{date_short_pretty}} {{time_secs}}|{at}>")
}

/// What Slack refuses, as far as it is known: for tests and for the receiver they run against.
#[cfg(test)]
pub(crate) fn complaints(body: &serde_json::Value) -> Vec<String> {
    let mut complaints = Vec::new();
    let count = |value: &serde_json::Value| value.as_str().map_or(0, |text| text.chars().count());
    if count(&body["text"]) == 0 || count(&body["text"]) > 4_000 {
        complaints.push("text".to_owned());
    }
    let blocks = body["blocks"].as_array().cloned().unwrap_or_default();
    if blocks.is_empty() || blocks.len() > 50 {
        complaints.push("number of blocks".to_owned());
    }
    let mut sum = 0;
    for block in &blocks {
        let text = count(&block["text"]["text"]);
        let limit = if block["type"] == "header" {
            150
        } else {
            3_000
        };
        let bare = block["fields"].is_null() && block["elements"].is_null();
        if text > limit || (bare && text == 0) {
            complaints.push(format!("{} of {text} characters", block["type"]));
        }
        let parts = [&block["fields"], &block["elements"]].map(|it| it.as_array());
        for part in parts.into_iter().flatten() {
            if part.is_empty() || part.len() > 10 {
                complaints.push("number of fields".to_owned());
            }
            for text in part.iter().map(|field| count(&field["text"])) {
                sum += text;
                if text == 0 || text > 2_000 {
                    complaints.push(format!("field of {text} characters"));
                }
            }
        }
        sum += text;
    }
    if sum > 12_000 {
        complaints.push(format!("msg_blocks_too_long: {sum}"));
    }
    complaints
}
