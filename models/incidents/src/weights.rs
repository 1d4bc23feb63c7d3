//! The constants of joining and ranking, each with its why. They were chosen by reasoning and by the scripted stories of this crate's
//! tests; none was fitted to labelled incidents.

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Share of a cause's score that its onset gives. Faults spread, so what was sick first is the likeliest source (FChain, ICDCS 2013,
/// ranks by it). Equal with [`REACH`]: each alone misleads, onset by detectors of different speed, the graph by missing edges.
pub(crate) const ONSET: f64 = 0.3;
/// Share that the graph gives: how much of what is sick the cause would explain (Microscope, ICSOC 2018, takes the deepest sick
/// service on the call graph).
pub(crate) const REACH: f64 = 0.3;
/// Share that the kind of its signals gives: some say what broke, others only that something did.
pub(crate) const KIND: f64 = 0.2;
/// Share that an independent fact gives: a change just before, or the node's own word. Most outages follow a change (Google, Site
/// Reliability Engineering, chapter 1), but most changes cause none, so it moves ranks and does not make them.
pub(crate) const CONFIRMED: f64 = 0.2;

/// A cause that begins so much after the incident has half the onset's share: detectors confirm in 3 to 10 s, so a few
/// seconds say little, and half a minute says much.
pub(crate) const ONSET_HALF: Duration = Duration::from_secs(30);
/// A change so long before the first sign has half its weight: what a deploy breaks shows within minutes.
pub(crate) const CHANGE_HALF: Duration = Duration::from_secs(120);
/// A change longer before the first sign than this is not named.
pub(crate) const CHANGE_WINDOW: Duration = Duration::from_secs(600);
/// The first start of a service is half the change a deploy over a running one is: nothing worked before that it could have broken.
pub(crate) const FIRST_START: f64 = 0.5;
/// What was done to one container is half a change for another of its service: it moves load, and little else.
pub(crate) const SIBLING: f64 = 0.5;
/// What is explained by something deeper keeps so much of its reach and kind: it is a symptom, unless the graph is wrong.
pub(crate) const EXPLAINED: f64 = 0.5;
/// How specific the node's own signal is: it names what is short, while who took it would say more.
pub(crate) const NODE_KIND: f64 = 0.9;
/// How specific a noisy neighbour is without the node's own signal.
pub(crate) const NEIGHBOUR_KIND: f64 = 0.9;
/// So many services beyond the first, sick at once on one node and none explaining another, make a shared host as sure as its own
/// signal would.
pub(crate) const SHARED_NODE_SURE: f64 = 3.0;

/// Detectors of different speed, and clocks of different nodes, may swap what is nearer than this.
pub(crate) const ONSET_TOLERANCE: Duration = Duration::from_secs(15);
/// A change may carry a time so much after the first sign that it caused.
pub(crate) const CHANGE_TOLERANCE: Duration = Duration::from_secs(2);
/// What opens so soon after a related signal ended still belongs to it: things flap.
pub(crate) const SETTLE: Duration = MINUTE;
/// Related things turn sick within this of each other …
pub(crate) const JOIN_WINDOW: Duration = Duration::from_secs(5 * 60);
/// … or within this where what came first still goes on and explains what came later: a leak takes its time.
pub(crate) const SLOW_WINDOW: Duration = Duration::from_secs(30 * 60);
/// Things that share nothing but the node turn sick within this of each other. Short, because on a small fleet everything shares a
/// node.
pub(crate) const NODE_WINDOW: Duration = MINUTE;
/// Evidence is believed so far back from where its signal opened.
pub(crate) const ONSET_BACK_MAX: Duration = Duration::from_secs(10 * 60);
/// A caller explains through so many steps: one service between two sick ones may stay silent.
pub(crate) const HOPS_MAX: usize = 2;
/// Containers of one service made within this are one deploy.
pub(crate) const DEPLOY_SPAN: Duration = Duration::from_secs(120);
/// What the engine tells of an action comes this much after the action's deadline at most.
pub(crate) const ACTION_SPAN: Duration = MINUTE;

/// What is over for so long is forgotten, and so are changes and links.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// What is old is looked for so often.
pub(crate) const FORGET_EVERY: Duration = Duration::from_secs(10);
/// Signals kept. Beyond it whole incidents that are over go, the oldest first, then the oldest signals.
pub(crate) const SIGNALS_MAX: usize = 2_000;
/// So many go at once, so that looking for them is rare.
pub(crate) const SIGNALS_EVICTED: usize = SIGNALS_MAX / 10;
/// Nodes known. A node beyond it is not: its containers have no image and no dependencies here.
pub(crate) const NODES_MAX: usize = 5_000;
/// Containers known of a node. Those beyond it, by name, are not.
pub(crate) const CONTAINERS_MAX: usize = 2_000;
/// Edges of the graph. Beyond it those not seen for longest go.
pub(crate) const LINKS_MAX: usize = 20_000;
/// Containers with a recent past. Beyond it those with the oldest news go.
pub(crate) const STORIES_MAX: usize = 10_000;
/// Changes, and ends, kept of one container. Beyond it the oldest go.
pub(crate) const NEWS_MAX: usize = 8;
/// Images remembered of a service. Beyond it the oldest go.
pub(crate) const IMAGES_MAX: usize = 4;
/// Services whose images are remembered. Of those beyond it a new image is not recognised as new.
pub(crate) const SERVICES_MAX: usize = 10_000;
/// Plans kept. Beyond it the oldest go.
pub(crate) const PLANS_MAX: usize = 2_000;
/// Causes told of an incident. The least likely are left out.
pub(crate) const CAUSES_MAX: usize = 5;
/// Facts told of a cause. The latest are left out.
pub(crate) const FACTS_MAX: usize = 8;
