//! What is told to whoever asks why: the same JSON, whether a hub is asked or a folder.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Name, World};
use crate::placement::ClusterExplanation;

/// Which clusters whoever asks may be told of.
pub type MayName<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// The reason of a report about a cluster that is not there, or may not be shown.
pub const NOT_FOUND: &str = "NotFound";

impl World {
    /// A `PlacementExplanation`: everything about each candidate that may be named, and counts of the others; `None`
    /// when there is no such placement. With `only`, that cluster alone, whether it is a candidate or not.
    #[must_use]
    pub fn report(
        &self,
        placement: &Name,
        only: Option<&str>,
        now: Timestamp,
        may_name: MayName<'_>,
    ) -> Option<Value> {
        let mut report = json!({
            "apiVersion": "koinon.dev/v1alpha1", "kind": "PlacementExplanation",
            "metadata": { "namespace": placement.0, "name": placement.1 },
            "selected": 0, "unscheduled": 0, "clusters": [],
        });
        let evaluation = match self.answer(placement, now)? {
            Answer::Evaluated(evaluation) => evaluation,
            Answer::Misconfigured(error) => {
                self.nothing(&mut report, placement, "Misconfigured", &error.to_string());
                return Some(report);
            }
            Answer::NoClusters(none) => {
                nothing(&mut report, none.reason(), &none.to_string());
                return Some(report);
            }
            Answer::Untouched => {
                let why = "it is being deleted, or its annotation disables scheduling";
                self.nothing(&mut report, placement, "Untouched", why);
                return Some(report);
            }
        };
        let explanation = self.explain(placement, now)?;
        report["selected"] = evaluation.selected.into();
        report["unscheduled"] = evaluation.unscheduled.into();
        report["candidates"] = explanation.clusters.len().into();
        report["recheckAt"] = json!(explanation.recheck_at);
        let all = explanation.clusters.into_iter();
        let (named, hidden): (Vec<ClusterExplanation>, Vec<ClusterExplanation>) =
            all.partition(|one| may_name(&one.cluster));
        if !hidden.is_empty() {
            report["hidden"] = json!({
                "clusters": hidden.len(),
                "selected": hidden.iter().filter(|one| one.selected).count(),
            });
        }
        let Some(only) = only else {
            report["clusters"] = json!(named);
            return Some(report);
        };
        let one = may_name(only)
            .then(|| self.explain_cluster(placement, only, now))
            .flatten();
        if one.is_none() {
            let why = format!("there is no cluster {only}, or it may not be shown");
            nothing(&mut report, NOT_FOUND, &why);
        }
        report["clusters"] = json!(one.as_slice());
        Some(report)
    }

    /// The answer of OCM's debug endpoint; `None` when there is no such placement.
    #[must_use]
    pub fn debug_report(
        &self,
        placement: &Name,
        now: Timestamp,
        may_name: MayName<'_>,
    ) -> Option<Value> {
        let mut report = match self.answer(placement, now)? {
            Answer::Evaluated(evaluation) => evaluation.debug(),
            Answer::Misconfigured(error) => json!({ "error": error.to_string() }),
            Answer::NoClusters(none) => json!({ "error": none.to_string() }),
            Answer::Untouched => json!({ "error": "scheduling is disabled" }),
        };
        hide(&mut report, may_name);
        let object = &self.placements.get(placement)?.object;
        report["placement"] = json!({
            "metadata": {
                "namespace": placement.0, "name": placement.1,
                "labels": object.metadata.labels, "annotations": object.metadata.annotations,
            },
            "spec": object.spec,
        });
        Some(report)
    }

    /// Nobody was evaluated, and the decisions that there are stay: so many.
    fn nothing(&self, report: &mut Value, placement: &Name, reason: &str, message: &str) {
        nothing(report, reason, message);
        report["selected"] = self.held(placement).count().into();
    }
}

fn nothing(report: &mut Value, reason: &str, message: &str) {
    report["reason"] = reason.into();
    report["message"] = message.into();
}

/// Takes clusters that may not be named out of a debug answer.
fn hide(answer: &mut Value, may_name: MayName<'_>) {
    let list = |value: &mut Value, keep: &dyn Fn(&Value) -> bool| {
        if let Some(list) = value.as_array_mut() {
            list.retain(|one| keep(one));
        }
    };
    let named = |name: &Value| name.as_str().is_some_and(may_name);
    for result in answer["filteredPipelineResults"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        list(&mut result["filteredClusters"], &named);
    }
    for result in answer["prioritizeResults"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        if let Some(scores) = result["scores"].as_object_mut() {
            scores.retain(|name, _| may_name(name));
        }
    }
    if answer.get("aggregatedScores").is_some() {
        list(&mut answer["aggregatedScores"], &|one| {
            named(&one["clusterName"])
        });
    }
}
