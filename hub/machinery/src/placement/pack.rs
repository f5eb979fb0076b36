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
            let all = allocatable(resource);
            let free = all.map(|all| all - taken);
            let suffices = all
                .is_some_and(|all| billionths(*requested) <= billionths(all) - billionths(taken));
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

/// An amount in the smallest unit that Kubernetes knows: what was written in decimals compares as it was written, also
/// after some were added up (0.1 and 0.2 leave 0.3 of 0.6).
#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn billionths(amount: f64) -> i128 {
    let (whole, rest) = (amount.trunc(), amount.fract());
    (whole as i128).saturating_mul(1_000_000_000) + (rest * 1e9).round() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_counted_as_it_was_written() {
        let packing = Packing {
            requests: Amounts::from([("cpu".to_owned(), 0.3)]),
            strategy: Strategy::Fit,
        };
        let reserved = Amounts::from([("cpu".to_owned(), 0.1 + 0.2)]);
        assert_eq!(packing.lacking(|_| Some(0.6), &reserved), None);
        let lacking = packing.lacking(|_| Some(0.599_999_999), &reserved);
        assert!(lacking.is_some());
    }
}
