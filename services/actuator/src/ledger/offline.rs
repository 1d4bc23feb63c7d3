//! What the ledger holds for a node that is cut off: how far it may heal by itself, and what it did.

use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::de::DeserializeOwned;
use units::{
    Action, CommandId, ContainerId, Outcome, OutcomeResult, Phase, Plan, PlanEntry, PlanId,
    ServiceId, StandingPolicy, Timestamp,
};

use super::{Entry, Ledger, LedgerError, Stage, Store};

/// The one policy, as JSON.
const POLICY: TableDefinition<'_, (), &str> = TableDefinition::new("policy");
/// What was done and is to be told, by plan, as JSON.
const HEALED: TableDefinition<'_, &str, &str> = TableDefinition::new("healed");

/// Reading expects the tables to be there.
pub(super) fn make(write: &WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(POLICY)?;
    write.open_table(HEALED)?;
    Ok(())
}

/// A restart that was carried out, or may have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restarted {
    pub(crate) service: ServiceId,
    pub(crate) container: ContainerId,
    pub(crate) at: Timestamp,
}

impl Ledger {
    /// How far this node may heal by itself, as it was told last.
    pub(crate) async fn policy(&self) -> Result<Option<StandingPolicy>, LedgerError> {
        self.with(|store| {
            let read = || -> Result<Option<String>, redb::Error> {
                let table = store.database.begin_read()?.open_table(POLICY)?;
                Ok(table.get(())?.map(|it| it.value().to_owned()))
            };
            let json = read().map_err(|error| store.storage(error))?;
            Ok(json.as_deref().and_then(known))
        })
        .await
    }

    /// Writes that down. When this returns, it is on disk.
    pub(crate) async fn put_policy(&self, policy: &StandingPolicy) -> Result<(), LedgerError> {
        let json = json(policy);
        self.with(move |store| {
            store.write(|write| {
                write.open_table(POLICY)?.insert((), json.as_str())?;
                Ok(())
            })
        })
        .await
    }

    /// What this node did by itself and is to tell, oldest first, each with what became of it as far as that is known.
    pub(crate) async fn healed(&self) -> Result<Vec<PlanEntry>, LedgerError> {
        self.with(|store| {
            let read = || -> Result<Vec<PlanEntry>, redb::Error> {
                let table = store.database.begin_read()?.open_table(HEALED)?;
                let mut healed = Vec::new();
                for row in table.iter()? {
                    healed.extend(known::<PlanEntry>(row?.1.value()));
                }
                Ok(healed)
            };
            let mut healed = Vec::new();
            for entry in read().map_err(|error| store.storage(error))? {
                healed.push(store.answered(entry)?);
            }
            healed.sort_by_key(|it| it.plan.created_at);
            Ok(healed)
        })
        .await
    }

    /// Writes down what was done. When this returns, it is on disk.
    pub(crate) async fn put_healed(&self, entry: &PlanEntry) -> Result<(), LedgerError> {
        let (plan, json) = (entry.plan.id.clone(), json(entry));
        self.with(move |store| {
            store.write(|write| {
                let mut table = write.open_table(HEALED)?;
                table.insert(plan.as_str(), json.as_str())?;
                Ok(())
            })
        })
        .await
    }

    /// Forgets one that newer ones took the place of.
    pub(crate) async fn forget_healed(&self, plan: PlanId) -> Result<(), LedgerError> {
        self.with(move |store| {
            store.write(|write| {
                write.open_table(HEALED)?.remove(plan.as_str())?;
                Ok(())
            })
        })
        .await
    }

    /// Forgets what was told for long enough.
    pub(crate) async fn drop_healed(&self) -> Result<(), LedgerError> {
        self.with(|store| {
            store.write(|write| {
                write.open_table(HEALED)?.retain(|_, _| false)?;
                Ok(())
            })
        })
        .await
    }

    /// The restarts since a time, whoever decided them.
    pub(crate) async fn restarts_since(
        &self,
        since: Timestamp,
    ) -> Result<Vec<Restarted>, LedgerError> {
        self.with(move |store| {
            let entries = store.all()?.into_iter();
            let lately = entries.filter(|entry| entry.began_at >= since);
            Ok(lately.filter_map(restarted).collect())
        })
        .await
    }
}

impl Store<'_> {
    /// The process ended while it was at that: what was begun is looked into at the start, like every command.
    fn answered(&self, entry: PlanEntry) -> Result<PlanEntry, LedgerError> {
        if entry.phase != Phase::Decided {
            return Ok(entry);
        }
        let known = self.read(&CommandId::of(&entry.plan.id, 0))?;
        Ok(match known.map(|it| it.stage) {
            Some(Stage::Done { outcome }) => ended(entry.plan, outcome),
            Some(Stage::Begun { .. }) | None => entry,
        })
    }
}

/// A plan of one step with what became of that.
pub(crate) fn ended(plan: Plan, outcome: Outcome) -> PlanEntry {
    let phase = match &outcome.result {
        OutcomeResult::Succeeded { .. } => Phase::Executed,
        OutcomeResult::Refused { .. }
        | OutcomeResult::Failed { .. }
        | OutcomeResult::Vanished
        | OutcomeResult::Interrupted => Phase::Failed,
    };
    PlanEntry {
        at: outcome.at,
        plan,
        phase,
        outcomes: vec![outcome],
        verdict: None,
    }
}

fn restarted(entry: Entry) -> Option<Restarted> {
    let is_done = match &entry.stage {
        Stage::Begun { .. } => true,
        Stage::Done { outcome } => !matches!(outcome.result, OutcomeResult::Refused { .. }),
    };
    let is_restart = matches!(entry.command.action, Action::Restart { .. });
    (is_done && is_restart).then(|| Restarted {
        container: entry.command.action.target().clone(),
        service: entry.command.service,
        at: entry.began_at,
    })
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value)
        .expect("it has text keys and no failing serialiser, so JSON takes it")
}

/// What a version before this wrote otherwise is as good as nothing: the log tells it again, or it was told.
fn known<T: DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}
