//! `homeostat nodes`: what room the nodes have, which may be lost, and which moves would be worth it.

use control::{Advice, FleetCapacity, Hearing, Kept, NodeRoom, Stranded, SuggestedMove, Unfit};
use units::{Millicores, NodeCapacity, NodeWanted};

use crate::ask::{get, show, trimmed};
use crate::cli::Ask;
use crate::exit::Failure;
use crate::table::with_heading;

/// Asks the console, and lists nodes, what would be lost with them, and moves.
pub(crate) fn nodes(ask: &Ask) -> Result<(), Failure> {
    let fleet: FleetCapacity = get(ask, "nodes")?;
    show(ask, &fleet, shown)
}

fn shown(fleet: &FleetCapacity) -> String {
    if fleet.nodes.is_empty() {
        return "no node has been heard of; a collector runs on each".to_owned();
    }
    let mut table = with_heading(&["node", "zone", "cpu", "memory", "containers", "survives"]);
    for room in &fleet.nodes {
        let silent = match room.hearing {
            Hearing::Speaks => "",
            Hearing::Silent => ", silent",
        };
        let wanted = match room.wanted {
            NodeWanted::Open => "",
            NodeWanted::Cordoned => ", cordoned",
            NodeWanted::Drained => ", to be drained",
        };
        table.add_row([
            format!("{}{silent}{wanted}", room.node),
            room.facts.zone.clone().unwrap_or_default(),
            part(room, |it| it.cpu, cores),
            part(room, |it| it.memory, |it| it.to_string()),
            containers(room),
            room.survives.as_str().to_owned(),
        ]);
    }
    let mut lines = vec![trimmed(&table)];
    lines.extend(fleet.nodes.iter().flat_map(lost));
    lines.extend(fleet.advice.iter().flat_map(advised));
    lines.extend(fleet.remarks.iter().cloned());
    if !fleet.kept.is_empty() {
        lines.push("not to be moved:".to_owned());
        lines.extend(fleet.kept.iter().map(kept));
    }
    lines.join("\n")
}

/// What is needed of what there is.
fn part<T>(room: &NodeRoom, of: impl Fn(&NodeCapacity) -> T, text: impl Fn(T) -> String) -> String {
    let needed = text(of(&room.needed.known));
    match &room.capacity {
        Some(whole) => format!("{needed} of {}", text(of(whole))),
        None => format!("{needed} of unknown"),
    }
}

fn cores(cpu: Millicores) -> String {
    format!("{:.1}", cpu.as_cores())
}

fn containers(room: &NodeRoom) -> String {
    let unknown = match room.needed.unknown {
        0 => String::new(),
        unknown => format!(", {unknown} of unknown need"),
    };
    format!("{}{unknown}", room.containers)
}

fn lost(room: &NodeRoom) -> Vec<String> {
    if room.stranded == 0 {
        return Vec::new();
    }
    let mut lines = vec![format!("without {}, no place for:", room.node)];
    lines.extend(room.examples.iter().map(stranded));
    let more = room.stranded.saturating_sub(room.examples.len());
    if more > 0 {
        lines.push(format!("  {more} more"));
    }
    lines
}

fn stranded(it: &Stranded) -> String {
    let why: Vec<String> = it.why.iter().map(unfit).collect();
    format!("  {} of {}: {}", it.container, it.service, why.join("; "))
}

fn unfit(why: &Unfit) -> String {
    match why.nodes {
        Some(1) => format!("{} (1 node)", why.text),
        Some(nodes) => format!("{} ({nodes} nodes)", why.text),
        None => why.text.clone(),
    }
}

fn advised(advice: &Advice) -> Vec<String> {
    let mut lines = vec![format!("worth it: {}", advice.benefit)];
    lines.extend(advice.moves.iter().map(step));
    lines
}

fn step(it: &SuggestedMove) -> String {
    let caution = it.caution.as_ref();
    let caution = caution.map_or_else(String::new, |text| format!("; {text}"));
    format!("  {} from {} to {}{caution}", it.container, it.from, it.to)
}

fn kept(kept: &Kept) -> String {
    let names: Vec<&str> = kept.examples.iter().map(|it| it.as_str()).collect();
    let named = match names.is_empty() {
        true => String::new(),
        false if kept.containers > names.len() => format!(" ({}, …)", names.join(", ")),
        false => format!(" ({})", names.join(", ")),
    };
    format!("  {}{named}: {}", kept.containers, kept.why)
}

#[cfg(test)]
mod tests {
    use control::{AdviceKind, Needed, Survives};
    use units::{Bytes, ContainerName, NodeFacts, NodeId, ServiceId};

    use super::*;

    fn room(node: &str, survives: Survives) -> NodeRoom {
        NodeRoom {
            node: NodeId::from(node),
            hearing: Hearing::Speaks,
            wanted: NodeWanted::Open,
            facts: NodeFacts {
                zone: Some("east".to_owned()),
                ..NodeFacts::default()
            },
            capacity: Some(NodeCapacity {
                cpu: Millicores(4_000),
                memory: Bytes(8 << 30),
            }),
            needed: Needed {
                known: NodeCapacity {
                    cpu: Millicores(2_500),
                    memory: Bytes(3 << 30),
                },
                unknown: 0,
            },
            containers: 2,
            movable: 1,
            survives,
            stranded: 0,
            examples: Vec::new(),
        }
    }

    #[test]
    fn without_nodes_it_is_said_what_is_missing() {
        assert_eq!(
            shown(&FleetCapacity::default()),
            "no node has been heard of; a collector runs on each"
        );
    }

    #[test]
    fn nodes_come_first_then_losses_moves_and_what_stays() {
        let mut a = room("a", Survives::No);
        a.stranded = 2;
        a.examples = vec![Stranded {
            container: ContainerName::from("db-1"),
            service: ServiceId::from("shop/db"),
            why: vec![Unfit {
                text: "too little memory is free".to_owned(),
                nodes: Some(1),
            }],
        }];
        let mut b = room("b", Survives::Unknown);
        b.hearing = Hearing::Silent;
        b.facts.zone = None;
        b.capacity = None;
        b.needed.unknown = 1;
        let fleet = FleetCapacity {
            nodes: vec![a, b],
            advice: vec![Advice {
                kind: AdviceKind::Empty,
                node: NodeId::from("b"),
                benefit: "b holds nothing then".to_owned(),
                moves: vec![SuggestedMove {
                    container: ContainerName::from("web-1"),
                    service: ServiceId::from("web"),
                    from: NodeId::from("b"),
                    to: NodeId::from("a"),
                    caution: Some("it leaves a network".to_owned()),
                }],
            }],
            remarks: vec!["no node is looked at".to_owned()],
            kept: vec![Kept {
                why: "the label io.homeostat.move is not true".to_owned(),
                containers: 3,
                examples: vec![ContainerName::from("db-1")],
            }],
        };
        assert_eq!(
            shown(&fleet),
            "\
\x20NODE       ZONE  CPU             MEMORY              CONTAINERS            SURVIVES
 a          east  2.5 of 4.0      3.0 GiB of 8.0 GiB  2                     no
 b, silent        2.5 of unknown  3.0 GiB of unknown  2, 1 of unknown need  unknown
without a, no place for:
  db-1 of shop/db: too little memory is free (1 node)
  1 more
worth it: b holds nothing then
  web-1 from b to a; it leaves a network
no node is looked at
not to be moved:
  3 (db-1, …): the label io.homeostat.move is not true"
        );
    }
}
