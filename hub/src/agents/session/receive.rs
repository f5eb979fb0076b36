//! What an agent says.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use koinon_api::ManagedCluster;
use koinon_machinery::{ApiError, Reason};
use koinon_proto::{
    MAX_BATCH,
    v1::{Ack, AckOutcome, AgentMessage, ClusterReport, agent_message::Body},
};
use tokio::time::Instant;
use tonic::Status;

use super::{REPORTS, RETRY, Session, work_key};
use crate::{
    agents::{
        removal::{self, Removal},
        report::{self, Health},
    },
    clock,
};

/// Removals of one agent recorded at once.
const REMOVALS: usize = 16;

impl Session {
    /// Takes one message.
    ///
    /// # Errors
    ///
    /// With what ends the session if the agent breaks the protocol.
    pub(super) async fn receive(&mut self, message: AgentMessage) -> Result<(), Status> {
        match message.body {
            Some(Body::Hello(_)) => Err(Status::invalid_argument("hello was said already")),
            Some(Body::Heartbeat(beat)) => {
                self.agents.0.presence.beat(&self.outbox, beat.sequence);
                Ok(())
            }
            Some(Body::Report(report)) => {
                self.health = Health::of(&report).or(self.health.take());
                self.report = Some(Box::new(report));
                if Instant::now() >= self.report_at {
                    self.write_report().await;
                }
                Ok(())
            }
            Some(Body::Statuses(batch)) => {
                bounded(batch.statuses.len())?;
                let submitted = self
                    .agents
                    .0
                    .inbox
                    .submit(&self.outbox, batch.statuses)
                    .await;
                submitted.map_err(|_| Status::unavailable("this hub is going down"))
            }
            Some(Body::Acks(batch)) => {
                bounded(batch.acks.len())?;
                self.take_acks(batch.acks).await;
                Ok(())
            }
            // Of a newer agent; it learns from the welcome what this hub can do.
            None => Ok(()),
        }
    }

    /// Writes the report that waits, if there is one.
    pub(super) async fn write_report(&mut self) {
        let Some(report) = self.report.take() else {
            return;
        };
        let pause = match self.try_report(&report).await {
            Ok(()) => REPORTS,
            Err(error)
                if matches!(
                    error.reason,
                    Reason::ServiceUnavailable | Reason::Timeout | Reason::Conflict
                ) =>
            {
                tracing::debug!(cluster = %self.outbox.cluster, error = error.message, "report waits for the registry");
                self.report = Some(report);
                RETRY
            }
            Err(error) => {
                self.agents.0.metrics.reject("report_refused");
                tracing::warn!(cluster = %self.outbox.cluster, error = error.message, "report not taken");
                REPORTS
            }
        };
        self.report_at = Instant::now() + pause;
    }

    async fn try_report(&self, report: &ClusterReport) -> Result<(), ApiError> {
        let (client, name) = (&self.agents.0.client, &self.outbox.cluster);
        let change = |cluster: &mut ManagedCluster| {
            report::apply(report, cluster.status.get_or_insert_default(), clock::now())
        };
        let cluster = client
            .modify_status::<ManagedCluster>("", name, change)
            .await?;
        if report::needs_annotation(report, &cluster) {
            client
                .modify::<ManagedCluster>("", name, |cluster| report::annotate(report, cluster))
                .await?;
        }
        Ok(())
    }

    /// Sets `Available` to what the agent last said, if the hub had given the cluster up: the agent is heard again,
    /// and it has no reason to repeat what has not changed.
    pub(super) async fn restore_available(&mut self) {
        let Some(health) = self.health.clone().filter(|_| self.lost) else {
            return;
        };
        let change = |cluster: &mut ManagedCluster| {
            health.apply(cluster.status.get_or_insert_default(), clock::now())
        };
        match self
            .agents
            .0
            .client
            .modify_status::<ManagedCluster>("", &self.outbox.cluster, change)
            .await
        {
            Ok(_) => self.lost = false,
            // The next grant tries again.
            Err(error) => {
                tracing::debug!(cluster = %self.outbox.cluster, error = error.message, "availability not restored")
            }
        }
    }

    async fn take_acks(&mut self, acks: Vec<Ack>) {
        let metrics = &self.agents.0.metrics;
        let mut removed = Vec::new();
        for ack in acks {
            match ack.outcome() {
                AckOutcome::Stored => metrics.ack("stored"),
                AckOutcome::Held => metrics.ack("held"),
                AckOutcome::Removed => removed.push(ack),
                AckOutcome::Unspecified => metrics.reject("ack_without_outcome"),
            }
        }
        // Known to be gone already: nothing to look up in the database.
        let store = self.agents.store();
        removed.retain(|ack| {
            store
                .get(&work_key(&self.outbox.cluster, &ack.name))
                .is_some()
        });
        let (client, cluster) = (&self.agents.0.client, &self.outbox.cluster);
        let outcomes: Vec<_> = stream::iter(removed)
            .map(|ack| async move {
                let outcome = removal::forget(client, cluster, &ack).await;
                (Arc::<str>::from(ack.name), outcome)
            })
            .buffer_unordered(REMOVALS)
            .collect()
            .await;
        for (name, outcome) in outcomes {
            match outcome {
                Ok(Removal::Done) => metrics.ack("removed"),
                Ok(Removal::Unfounded) => metrics.reject("ack_unfounded"),
                Err(error) => {
                    tracing::debug!(cluster = %self.outbox.cluster, work = %name, error = error.message, "removal waits");
                    self.unrecorded.push(name);
                    self.retry_at = Instant::now() + RETRY;
                }
            }
        }
    }
}

fn bounded(items: usize) -> Result<(), Status> {
    if items > MAX_BATCH {
        return Err(Status::invalid_argument(format!(
            "at most {MAX_BATCH} items in one message"
        )));
    }
    Ok(())
}
