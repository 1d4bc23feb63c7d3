//! A small simulated host: containers with load, limits, leaks and log lines, from which samples follow.

use units::{
    ContainerId, ContainerName, ContainerState, HealthState, LogLine, LogSeverity, LogStream,
    Metric, MetricRow, NodeId, Sample, ServiceId, Signal, SignalKind, SignalPhase, Steady,
    Timestamp,
};

use crate::{Detector, Settings, Step};

/// Seeded noise for simulated series (SplitMix64).
#[derive(Clone)]
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn seeded(seed: u64) -> Self {
        Noise(seed)
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    pub(crate) fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let bound = (-mean).exp();
        let mut product = self.uniform();
        let mut count = 0.0;
        while product > bound {
            product *= self.uniform();
            count += 1.0;
        }
        count
    }
}

/// One simulated container. Fields are turned while the world runs.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    pub(crate) service: &'static str,
    pub(crate) state: ContainerState,
    pub(crate) health: HealthState,
    pub(crate) requests_per_s: f64,
    pub(crate) cpu_s_per_request: f64,
    pub(crate) idle_cores: f64,
    pub(crate) response_bytes: f64,
    pub(crate) limit_cores: Option<f64>,
    pub(crate) memory: f64,
    pub(crate) memory_limit: f64,
    pub(crate) leak_per_s: f64,
    pub(crate) hung: Hung,
    pub(crate) error_lines_per_s: u32,
    pub(crate) restarts: f64,
    pub(crate) exit_code: Option<f64>,
    pub(crate) uptime: f64,
    /// The engine runs a health check in it every so many seconds.
    pub(crate) checked_every_s: u32,
    /// What its collector counts.
    pub(crate) lines_lost: f64,
    /// It writes to disk, all of some seconds at once.
    pub(crate) write_bytes_per_s: f64,
    pub(crate) write_every_s: u32,
    /// What its sockets say.
    pub(crate) rtt_s: Option<f64>,
    /// Share of the time it waits for I/O, give or take half of it; absent where the kernel does not tell.
    pub(crate) io_waiting: Option<f64>,
    pub(crate) tasks: f64,
    pub(crate) tasks_limit: Option<f64>,
    /// What cannot be read of it.
    pub(crate) unread: Vec<Metric>,
    backlog_s: f64,
    totals: MetricRow,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Hung {
    No,
    Yes,
}

const MIB: f64 = 1024.0 * 1024.0;

impl Machine {
    pub(crate) fn new(name: &'static str, service: &'static str) -> Self {
        Machine {
            name,
            service,
            state: ContainerState::Running,
            health: HealthState::None,
            requests_per_s: 0.0,
            cpu_s_per_request: 0.0,
            idle_cores: 0.001,
            response_bytes: 2_000.0,
            limit_cores: None,
            memory: 8.0 * MIB,
            memory_limit: 64.0 * MIB,
            leak_per_s: 0.0,
            hung: Hung::No,
            error_lines_per_s: 0,
            restarts: 0.0,
            exit_code: None,
            uptime: 3_600.0,
            checked_every_s: 0,
            lines_lost: 0.0,
            write_bytes_per_s: 0.0,
            write_every_s: 1,
            rtt_s: None,
            io_waiting: None,
            tasks: 8.0,
            tasks_limit: None,
            unread: Vec::new(),
            backlog_s: 0.0,
            totals: MetricRow::default(),
        }
    }

    /// A quarter of a quarter core, as in the demonstration.
    pub(crate) fn web(name: &'static str) -> Self {
        Machine {
            requests_per_s: 8.0,
            cpu_s_per_request: 0.008,
            limit_cores: Some(0.25),
            ..Machine::new(name, "web")
        }
    }

    pub(crate) fn patient() -> Self {
        Machine {
            requests_per_s: 10.0,
            cpu_s_per_request: 0.002,
            response_bytes: 1_000.0,
            limit_cores: Some(0.25),
            memory_limit: 96.0 * MIB,
            checked_every_s: 2,
            ..Machine::new("demo-patient", "patient")
        }
    }

    pub(crate) fn worker() -> Self {
        Machine {
            idle_cores: 0.05,
            memory: 20.0 * MIB,
            ..Machine::new("demo-worker", "worker")
        }
    }

    pub(crate) fn traffic() -> Self {
        Machine {
            requests_per_s: 18.0,
            cpu_s_per_request: 0.000_3,
            ..Machine::new("demo-traffic", "traffic")
        }
    }

    /// It is started anew: counters begin again.
    pub(crate) fn start(&mut self) {
        let fresh = Machine::new(self.name, self.service);
        self.totals = fresh.totals;
        self.memory = fresh.memory;
        self.uptime = 0.0;
        self.backlog_s = 0.0;
        self.leak_per_s = 0.0;
        self.hung = Hung::No;
        self.state = ContainerState::Running;
    }

    /// So many more segments went out, and so many of them again.
    pub(crate) fn send_segments(&mut self, sent: f64, again: f64) {
        self.add(Metric::TcpSegments, sent);
        self.add(Metric::TcpRetransmits, again);
    }

    fn add(&mut self, metric: Metric, amount: f64) {
        let total = self.totals.get(metric).unwrap_or(0.0) + amount;
        self.totals.set(metric, total);
    }

    fn second(&mut self, noise: &mut Noise) {
        self.uptime += 1.0;
        let quota_s = self.limit_cores.map_or(f64::INFINITY, |cores| cores / 10.0);
        for _slot in 0..10 {
            let requests = noise.poisson(self.requests_per_s / 10.0);
            self.network(requests);
            let wobble = 1.0 + 0.2 * noise.normal().clamp(-3.0, 3.0);
            let idle_s = self.idle_cores / 10.0 * wobble;
            let asked_s = match self.hung {
                Hung::Yes => 0.000_2,
                Hung::No => requests * self.cpu_s_per_request * wobble + idle_s,
            };
            let wanted_s = self.backlog_s + asked_s;
            let used_s = wanted_s.min(quota_s);
            // Clients give up after a while: the queue is bounded.
            self.backlog_s = (wanted_s - used_s).min(0.5);
            self.add(Metric::CpuUsage, used_s);
            if self.limit_cores.is_some() && (requests > 0.0 || self.backlog_s > 0.0) {
                self.add(Metric::CpuPeriods, 1.0);
                self.add(Metric::CpuThrottledPeriods, f64::from(wanted_s > quota_s));
            }
        }
        let second = self.uptime as u32;
        if self.checked_every_s > 0 && second.is_multiple_of(self.checked_every_s) {
            self.add(Metric::CpuUsage, 0.014 + 0.004 * noise.uniform());
        }
        let written = match second.is_multiple_of(self.write_every_s) {
            true => self.write_bytes_per_s * f64::from(self.write_every_s),
            false => 0.0,
        };
        self.add(Metric::IoWriteBytes, written);
        if let Some(share) = self.io_waiting {
            self.add(Metric::PsiIoSome, share * (0.5 + noise.uniform()));
        }
        self.memory = (self.memory + self.leak_per_s).min(self.memory_limit);
    }

    fn network(&mut self, requests: f64) {
        let (packets_in, packets_out, answer) = match self.hung {
            Hung::No => (6.0, 6.0, self.response_bytes),
            Hung::Yes => (4.0, 2.0, 0.0),
        };
        self.add(Metric::NetRxPackets, requests * packets_in);
        self.add(Metric::NetTxPackets, requests * packets_out);
        self.add(Metric::NetRxBytes, requests * (packets_in * 70.0 + 120.0));
        self.add(Metric::NetTxBytes, requests * (packets_out * 70.0 + answer));
    }

    fn row(&self, noise: &mut Noise) -> MetricRow {
        let mut row = MetricRow::default();
        row.set(Metric::Restarts, self.restarts);
        row.set(Metric::LogLinesLost, self.lines_lost);
        row.set_opt(Metric::ExitCode, self.exit_code);
        if self.state != ContainerState::Running {
            return row;
        }
        row = self.totals.clone();
        row.set(Metric::Restarts, self.restarts);
        row.set(Metric::LogLinesLost, self.lines_lost);
        row.set_opt(Metric::CpuLimit, self.limit_cores);
        row.set(Metric::MemoryRss, self.memory + 40_960.0 * noise.uniform());
        row.set(Metric::MemoryUsage, 2.0 * self.memory);
        row.set_opt(Metric::TcpRttMedian, self.rtt_s);
        row.set(Metric::Pids, self.tasks);
        row.set_opt(Metric::PidsLimit, self.tasks_limit);
        if self.memory_limit.is_finite() {
            row.set(Metric::MemoryLimit, self.memory_limit);
        }
        row.set(Metric::Uptime, self.uptime);
        for metric in &self.unread {
            row.set_opt(*metric, None);
        }
        row
    }
}

/// Simulated time, a host and the detector that watches it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) at: Timestamp,
    /// The host's clock that never steps.
    pub(crate) steady: Steady,
    /// The newest batch of samples.
    pub(crate) batch: Vec<Sample>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) detector: Detector,
    noise: Noise,
    lines: u64,
}

impl World {
    pub(crate) fn new(seed: u64, machines: Vec<Machine>) -> Self {
        World {
            at: Timestamp::from_millis(1_700_000_000_000),
            steady: Steady::from_millis(5_000_000),
            batch: Vec::new(),
            machines,
            detector: Detector::new(Settings::default()),
            noise: Noise::seeded(seed),
            lines: 0,
        }
    }

    pub(crate) fn machine(&mut self, name: &str) -> &mut Machine {
        self.machines
            .iter_mut()
            .find(|machine| machine.name == name)
            .unwrap()
    }

    /// One second: log lines, then a batch of samples.
    pub(crate) fn second(&mut self) -> Step {
        self.at = self.at + std::time::Duration::from_secs(1);
        self.steady = self.steady + std::time::Duration::from_secs(1);
        let mut lines = Vec::new();
        let mut batch = Vec::new();
        for machine in &mut self.machines {
            for number in 0..machine.error_lines_per_s {
                self.lines += 1;
                let back_ms = 900 - 900 * u64::from(number) / u64::from(machine.error_lines_per_s);
                lines.push(line(machine, self.at, back_ms, self.lines));
            }
            machine.second(&mut self.noise);
            batch.push(Sample {
                at: self.at,
                steady: self.steady,
                node: NodeId::from("node-a"),
                service: ServiceId::from(machine.service),
                container: ContainerId::new(format!("id-of-{}", machine.name)),
                name: ContainerName::from(machine.name),
                state: machine.state,
                health: machine.health,
                metrics: machine.row(&mut self.noise),
            });
        }
        let mut signals = self.detector.logs(&lines, None);
        let mut step = self.detector.samples(&batch, Some("00-trace"));
        signals.append(&mut step.signals);
        self.batch = batch;
        Step { signals, ..step }
    }

    /// The host's time of day is set, by so much.
    pub(crate) fn step_ms(&mut self, by_ms: i64) {
        self.at = Timestamp::from_millis(self.at.as_millis() + by_ms);
    }

    pub(crate) fn run(&mut self, seconds: u32) -> Vec<Signal> {
        (0..seconds).flat_map(|_| self.second().signals).collect()
    }

    /// Runs until a signal of this kind and phase, and tells it with the seconds it took.
    pub(crate) fn run_until(&mut self, kind: SignalKind, phase: SignalPhase) -> (u32, Signal) {
        for second in 1..=900 {
            let wanted = |signal: &Signal| signal.kind == kind && signal.phase == phase;
            if let Some(signal) = self.second().signals.into_iter().find(wanted) {
                return (second, signal);
            }
        }
        panic!("no {kind} {phase:?} within 900 s");
    }
}

fn line(machine: &Machine, at: Timestamp, back_ms: u64, sequence: u64) -> LogLine {
    LogLine {
        at: at - std::time::Duration::from_millis(back_ms),
        node: NodeId::from("node-a"),
        service: ServiceId::from(machine.service),
        container: ContainerId::new(format!("id-of-{}", machine.name)),
        name: ContainerName::from(machine.name),
        stream: LogStream::Stderr,
        severity: LogSeverity::Error,
        sequence,
        lost_before: 0,
        lines: 1,
        limited_before: 0,
        trace_id: None,
        raw: None,
        text: format!("ERROR request {sequence} failed: upstream timed out"),
    }
}
