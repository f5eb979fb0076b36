//! Resource-aware packing, beyond OCM: what a workload requests against what a cluster has free.
//!
//! A placement opts in with the annotation `koinon.dev/packing`. Free is what the cluster reports as allocatable
//! less what the decisions of *other* packing placements have reserved there.

use std::collections::BTreeMap;

/// Amounts by resource name, in base units (cores, bytes).
pub type Amounts = BTreeMap<String, f64>;

/// What a placement asks of each cluster that it chooses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packing {
    pub requests: Amounts,
    pub strategy: Strategy,
}

/// Which of the clusters that can hold the workload are better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// None: the requests only filter.
    #[default]
    Fit,
    /// The fuller ones.
    Pack,
    /// The emptier ones.
    Spread,
}

/// The resource that a cluster has too little of.
#[derive(Clone, Debug, PartialEq)]
pub struct Lacking {
    pub resource: String,
    pub requested: f64,
    /// `None`: the cluster does not report the resource.
    pub free: Option<f64>,
}

impl Packing {
    /// The first resource, by name, that does not suffice; `allocatable` says what there is of a resource in all.
    pub(super) fn lacking(
        &self,
        allocatable: impl Fn(&str) -> Option<f64>,
        reserved: &Amounts,
    ) -> Option<Lacking> {
        self.requests.iter().find_map(|(resource, requested)| {
            let taken = reserved.get(resource).copied().unwrap_or(0.0);
            let free = allocatable(resource).map(|all| all - taken);
            let suffices = free.is_some_and(|free| *requested <= free);
            (!suffices).then(|| Lacking {
                resource: resource.clone(),
                requested: *requested,
                free,
            })
        })
    }

    /// −100 for the worst, 100 for the best.
    #[expect(clippy::cast_possible_truncation, reason = "−100..100")]
    pub(super) fn score(
        &self,
        allocatable: impl Fn(&str) -> Option<f64>,
        reserved: &Amounts,
    ) -> Option<i64> {
        let score = (self.share(allocatable, reserved)? * 200.0 - 100.0) as i64;
        match self.strategy {
            Strategy::Fit => None,
            Strategy::Pack => Some(score),
            Strategy::Spread => Some(-score),
        }
    }

    /// The share of the scarcest requested resource that is in use once the workload is there: 0 to 1.
    pub(super) fn share(
        &self,
        allocatable: impl Fn(&str) -> Option<f64>,
        reserved: &Amounts,
    ) -> Option<f64> {
        let of = |(resource, requested): (&String, &f64)| {
            let all = allocatable(resource)?;
            let taken = reserved.get(resource).copied().unwrap_or(0.0) + requested;
            (all > 0.0).then(|| (taken / all).clamp(0.0, 1.0))
        };
        let shares = self.requests.iter().filter_map(of);
        shares.fold(None, |most: Option<f64>, share| {
            Some(most.map_or(share, |most| most.max(share)))
        })
    }
}
