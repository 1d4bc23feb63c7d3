//! A process: one role or all of them, from boot to drain.

use kit::boot::{self, Connected, Drain};
use kit::{Context, admin, telemetry};

use crate::config::Config;
use crate::exit::Failure;
use crate::memory;

/// Worker threads: the work is small and mostly waiting; more threads only cost memory.
const WORKERS: usize = 2;

/// What a process can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Collector,
    Analytics,
    Controller,
    Actuator,
    Notifier,
    Console,
}

impl Role {
    /// Every role, in the order data flows.
    pub(crate) const ALL: [Role; 6] = [
        Role::Collector,
        Role::Analytics,
        Role::Controller,
        Role::Actuator,
        Role::Notifier,
        Role::Console,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Role::Collector => "collector",
            Role::Analytics => "analytics",
            Role::Controller => "controller",
            Role::Actuator => "actuator",
            Role::Notifier => "notifier",
            Role::Console => "console",
        }
    }
}

/// Runs one role until it is asked to end.
pub(crate) fn run(role: Role, config: Config) -> Result<(), Failure> {
    blocking(role.name(), &[role], config)
}

/// Runs every role in this process until it is asked to end.
pub(crate) fn up(config: Config) -> Result<(), Failure> {
    tracing::debug!(mode = %config.controller.max_mode, "all roles in one process");
    blocking("up", &Role::ALL, config)
}

/// A runtime for the product's tasks.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    runtime_of(WORKERS)
}

fn runtime_of(workers: usize) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
}

fn blocking(name: &'static str, roles: &[Role], config: Config) -> Result<(), Failure> {
    memory::settle();
    // A collector alone has little to do but hand over: between two threads that would be mostly waking the other.
    let workers = match roles {
        [Role::Collector] => 1,
        _ => WORKERS,
    };
    let runtime = runtime_of(workers)?;
    runtime.block_on(async {
        let telemetry = telemetry::init(&config.telemetry, name)?;
        let ended = serve(name, roles, config).await;
        telemetry.shutdown();
        ended
    })
}

/// Boots, runs until a signal or a fatal error, and drains.
async fn serve(name: &'static str, roles: &[Role], config: Config) -> Result<(), Failure> {
    let stops = boot::shutdown_signal()?;
    let bus = bus::Bus::open(&config.bus)?;
    let context = Context::new(bus.clone(), name, node_name(&config)?.as_str());
    let mut drain = Drain::new(context.shutdown.clone(), config.drain_grace.get());
    drain.spawn("memory", memory::tend(context.shutdown.clone()));
    let admin = admin::bind(&config.admin).await?;
    let (metrics, health) = (context.metrics.clone(), context.health.clone());
    drain.spawn(
        "admin",
        admin.run(metrics, health, context.shutdown.clone()),
    );
    spawn_roles(&mut drain, roles, &config, &context)?;
    let ended = drain.run(stops).await;
    bus.close().await;
    Ok(ended?)
}

/// Starts the roles; each waits for the log by itself.
pub(crate) fn spawn_roles(
    drain: &mut Drain,
    roles: &[Role],
    config: &Config,
    context: &Context,
) -> Result<(), Failure> {
    let node = node_name(config)?;
    drain.spawn("log watch", boot::watch(context.clone()));
    for role in roles {
        let context = context.for_role(role.name(), &node);
        drain.spawn(role.name(), connected(*role, config.clone(), context));
    }
    Ok(())
}

async fn connected(role: Role, config: Config, context: Context) -> anyhow::Result<()> {
    let topics = wire::topic::all(config.partitions);
    if role == Role::Collector && collector::knows_the_log(&config.collector) {
        // It has been here before: what happens while the log is away waits on its disk.
        let connected = boot::connect(&context.bus, &topics, &context.health, &context.shutdown);
        let (_, ran) = tokio::join!(connected, collector::run(config.collector, context.clone()));
        return Ok(ran?);
    }
    match boot::connect(&context.bus, &topics, &context.health, &context.shutdown).await {
        Connected::ShutDown => return Ok(()),
        Connected::Yes => {}
    }
    match role {
        Role::Collector => collector::run(config.collector, context).await?,
        Role::Analytics => analytics::run(config.analytics, context).await?,
        Role::Controller => controller::run(config.controller, context).await?,
        Role::Actuator => actuator::run(config.actuator, context).await?,
        Role::Notifier => notifier::run(config.notifier, context).await?,
        Role::Console => console::run(config.console, config.controller.core(), context).await?,
    }
    Ok(())
}

/// The configured name of this node, else the host's.
fn node_name(config: &Config) -> Result<String, Failure> {
    match &config.node {
        Some(name) => Ok(name.clone()),
        None => Ok(rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()),
    }
}
