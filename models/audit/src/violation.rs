//! What must never be.

use units::{
    ActionKind, CommandId, ContainerName, ContainerState, Generation, Mode, NodeId, PlanId,
    ServiceId, Timestamp, UpdateId,
};

/// One invariant a plan or command breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A suggestion is not carried out.
    #[error("plan {plan} is in mode {mode} and is not to be carried out")]
    NotToBeCarriedOut {
        /// The plan.
        plan: PlanId,
        /// Its mode.
        mode: Mode,
    },
    /// There is nothing in it.
    #[error("plan {plan} has no steps")]
    Empty {
        /// The plan.
        plan: PlanId,
    },
    /// Its steps are not all of its kind, so that budgets and ledger would count it wrongly.
    #[error("plan {plan} has steps that are not of its kind")]
    MixedKinds {
        /// The plan.
        plan: PlanId,
    },
    /// The container's labels, or the ceiling, do not allow it.
    #[error("{container} did not opt in to it; its labels and control.max_mode must allow it")]
    NotOptedIn {
        /// The container.
        container: ContainerName,
    },
    /// The container is not on that node, or not of that service.
    #[error("{container} of {service} is not known on node {node}")]
    UnknownContainer {
        /// The container.
        container: ContainerName,
        /// The service.
        service: ServiceId,
        /// The node.
        node: NodeId,
    },
    /// Only running containers are worked on; a paused or stopped one is in people's hands.
    #[error("{container} is {state}, and only running containers are touched")]
    NotRunning {
        /// The container.
        container: ContainerName,
        /// Its state.
        state: ContainerState,
    },
    /// Another image is put only in the place of the one a plan names: somebody else may have been there first.
    #[error(
        "{container} runs {runs} and not {named}, which another image was to take the place of"
    )]
    OtherImage {
        /// The container.
        container: ContainerName,
        /// What the plan takes it to run.
        named: String,
        /// What it runs.
        runs: String,
    },
    /// An update that nobody ordered, or that a newer order took the place of.
    #[error("nobody ordered {update} of {service}, or somebody ordered another since")]
    NotOrdered {
        /// The service.
        service: ServiceId,
        /// The order it names.
        update: UpdateId,
    },
    /// Something else done in the name of an order.
    #[error("{kind} of {container} is no part of an update")]
    NoPartOfUpdate {
        /// The container.
        container: ContainerName,
        /// What would be done.
        kind: ActionKind,
    },
    /// What is asked for is not what a move is made of, or what only moves are made of is asked for outside one.
    #[error("{kind} of {container} is no part of a move")]
    NoPartOfMove {
        /// The container.
        container: ContainerName,
        /// What is asked for.
        kind: ActionKind,
    },
    /// A container would be made from what its node did not tell for this move.
    #[error("{container} would be made from what node {node} did not tell for this move")]
    NotItsOrigin {
        /// The container that moves.
        container: ContainerName,
        /// Where it is.
        node: NodeId,
    },
    /// A container would go before the other one of its move serves.
    #[error("{container} would go, and the other one of its move does not serve")]
    NoSuccessor {
        /// The container.
        container: ContainerName,
    },
    /// A container would be isolated that serves alone.
    #[error("{container} would be taken out of service, and no other replica of {service} serves")]
    Alone {
        /// The container.
        container: ContainerName,
        /// Its service.
        service: ServiceId,
    },
    /// An image that was not ordered, or that was never run before what is taken back.
    #[error("{container} would run {image}, which was neither ordered nor there before")]
    NotItsImage {
        /// The container.
        container: ContainerName,
        /// The image.
        image: String,
    },
    /// Too late, or never in time.
    #[error("its deadline {deadline} is not after {not_before}")]
    Deadline {
        /// The deadline.
        deadline: Timestamp,
        /// The creation of the plan, or now.
        not_before: Timestamp,
    },
    /// Two plans of a service at once.
    #[error("{service} has plan {running} running already")]
    InFlight {
        /// The service.
        service: ServiceId,
        /// The other plan.
        running: PlanId,
    },
    /// More steps than the hour allows.
    #[error("{scope} would have {steps} steps in an hour, {most} are allowed")]
    HourlyBudget {
        /// A service, or all services.
        scope: String,
        /// Steps with this plan.
        steps: u32,
        /// The most allowed.
        most: u32,
    },
    /// More plans than may run at once.
    #[error("{scope} would have {plans} plans running, {most} are allowed")]
    Concurrency {
        /// A node, or all nodes.
        scope: String,
        /// Plans with this one.
        plans: u32,
        /// The most allowed.
        most: u32,
    },
    /// Acting is stopped.
    #[error("the common-cause breaker is open")]
    BreakerOpen,
    /// A container would be isolated that is in no network of its own.
    #[error("{container} would be taken out of its networks, and is in none")]
    NoNetwork {
        /// The container.
        container: ContainerName,
    },
    /// A container would be put into networks that no plan took it out of.
    #[error(
        "{container} would be put into networks that the plan this undoes did not take it out of"
    )]
    NotItsNetworks {
        /// The container.
        container: ContainerName,
    },
    /// A restart without a sick container.
    #[error("{container} would be restarted without a signal that says it is sick")]
    NoCause {
        /// The container.
        container: ContainerName,
    },
    /// Several replicas of a service down at once.
    #[error("{steps} replicas of {service} would be restarted at once")]
    TogetherDown {
        /// The service.
        service: ServiceId,
        /// How many.
        steps: usize,
    },
    /// Below what the policy promises.
    #[error("{service} would have {serving} serving replicas, {min} are promised")]
    BelowFloor {
        /// The service.
        service: ServiceId,
        /// Left serving.
        serving: u32,
        /// Promised.
        min: u32,
    },
    /// More, or something else, than one replica would go for another service.
    #[error("what goes of {service} for another service is not one replica, removed")]
    NotOneRemoval {
        /// The service that gives.
        service: ServiceId,
    },
    /// A replica would go for a service that has no use for its room.
    #[error("room would be made for {service}, of which nothing is known that may take it")]
    NoBeneficiary {
        /// The service that is named.
        service: ServiceId,
    },
    /// A replica would go for a service that is no more important.
    #[error(
        "a replica of {service}, of priority {priority}, would go for {than}, of priority {of}"
    )]
    NotLessImportant {
        /// The service that gives.
        service: ServiceId,
        /// Its priority.
        priority: u32,
        /// The service that gets.
        than: ServiceId,
        /// Its priority.
        of: u32,
    },
    /// Stopped, where the label keeps one running, or the load could not tell when one is wanted again.
    #[error(
        "{container} would be stopped; its label io.homeostat.scale must allow none, as 0..4, by a target that another service tells"
    )]
    MayNotRest {
        /// The container.
        container: ContainerName,
    },
    /// Stopped, where others of its service are there: what is one too many is removed.
    #[error(
        "{container} would be stopped beside {others} others, and only the last one is stopped"
    )]
    NotTheLast {
        /// The container.
        container: ContainerName,
        /// The others.
        others: usize,
    },
    /// Above what the policy allows.
    #[error("{service} would have {replicas} replicas, {max} are allowed")]
    AboveMost {
        /// The service.
        service: ServiceId,
        /// With this plan.
        replicas: u32,
        /// Allowed.
        max: u32,
    },
    /// A limit that the container's label does not allow.
    #[error("{container} would get {limit}, outside what its label io.homeostat.limits allows")]
    OutsideRange {
        /// The container.
        container: ContainerName,
        /// The limit, in words.
        limit: String,
    },
    /// A change of limits that names none.
    #[error("{container} would get new limits, and none is named")]
    NoLimit {
        /// The container.
        container: ContainerName,
    },
    /// It was not made by Homeostat.
    #[error("{container} was not made by Homeostat and is not removed")]
    NotOurs {
        /// The container.
        container: ContainerName,
    },
    /// The same container, or name, twice.
    #[error("{container} is in it twice, or its name is taken")]
    Twice {
        /// The container.
        container: ContainerName,
    },
    /// Older than what was seen.
    #[error("generation {generation} is older than {newest}")]
    StaleGeneration {
        /// Its generation.
        generation: Generation,
        /// The newest seen.
        newest: Generation,
    },
    /// A command whose plan is not in the journal as decided, or that is not one of its steps.
    #[error("command {command} does not follow from a decided plan")]
    NoPlan {
        /// The command.
        command: CommandId,
    },
    /// A command sent again under a generation that sent it already.
    #[error("command {command} was sent before")]
    SentTwice {
        /// The command.
        command: CommandId,
    },
}

impl Violation {
    /// A word for metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Violation::NotToBeCarriedOut { .. } => "not_to_be_carried_out",
            Violation::Empty { .. } => "empty",
            Violation::MixedKinds { .. } => "mixed_kinds",
            Violation::NotOptedIn { .. } => "not_opted_in",
            Violation::UnknownContainer { .. } => "unknown_container",
            Violation::NotRunning { .. } => "not_running",
            Violation::Deadline { .. } => "deadline",
            Violation::InFlight { .. } => "in_flight",
            Violation::HourlyBudget { .. } => "hourly_budget",
            Violation::Concurrency { .. } => "concurrency",
            Violation::BreakerOpen => "breaker_open",
            Violation::NoCause { .. } => "no_cause",
            Violation::TogetherDown { .. } => "together_down",
            Violation::BelowFloor { .. } => "below_floor",
            Violation::NotOneRemoval { .. } => "not_one_removal",
            Violation::NoBeneficiary { .. } => "no_beneficiary",
            Violation::NotLessImportant { .. } => "not_less_important",
            Violation::MayNotRest { .. } => "may_not_rest",
            Violation::NotTheLast { .. } => "not_the_last",
            Violation::AboveMost { .. } => "above_most",
            Violation::OutsideRange { .. } => "outside_range",
            Violation::NoLimit { .. } => "no_limit",
            Violation::NotOurs { .. } => "not_ours",
            Violation::OtherImage { .. } => "other_image",
            Violation::NotOrdered { .. } => "not_ordered",
            Violation::NoPartOfUpdate { .. } => "no_part_of_update",
            Violation::NotItsImage { .. } => "not_its_image",
            Violation::NoPartOfMove { .. } => "no_part_of_move",
            Violation::NotItsOrigin { .. } => "not_its_origin",
            Violation::NoSuccessor { .. } => "no_successor",
            Violation::Alone { .. } => "alone",
            Violation::NoNetwork { .. } => "no_network",
            Violation::NotItsNetworks { .. } => "not_its_networks",
            Violation::Twice { .. } => "twice",
            Violation::StaleGeneration { .. } => "stale_generation",
            Violation::NoPlan { .. } => "no_plan",
            Violation::SentTwice { .. } => "sent_twice",
        }
    }
}
