//! Resource-aware packing, beyond OCM: what a workload requests against what a cluster has free.
//!
//! A placement opts in with the annotation `koinon.dev/packing`. Free is what the cluster reports as allocatable
//! less what the decisions of *other* packing placements have reserved there.

use std::{
    collections::BTreeMap,
    ops::{Add, AddAssign, Sub},
};

use crate::quantity::Quantity;

/// An amount of a resource in thousandths of its base unit (millicores, thousandths of a byte). Sums are exact, so that
/// it does not matter in which order reservations are added up; beyond the largest they stay there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i64);

impl Amount {
    #[must_use]
    pub const fn thousandths(amount: i64) -> Self {
        Self(amount)
    }

    /// What there is of something: finer parts do not count.
    #[must_use]
    pub fn available(quantity: &Quantity) -> Self {
        Self(quantity.milli_floor())
    }

    /// What is asked for: finer parts are rounded up, as Kubernetes does.
    #[must_use]
    pub fn requested(quantity: &Quantity) -> Self {
        Self(quantity.milli_value())
    }

    /// In base units, for scores and for people.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the caller asks for a float")]
    pub fn units(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The thousandths, for whoever keeps many.
    pub(super) fn bits(self) -> i64 {
        self.0
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Amount>;

/// Looks amounts up; what is not there is none.
pub(super) fn in_all(amounts: &Amounts) -> impl Fn(&str) -> Amount {
    move |resource: &str| amounts.get(resource).copied().unwrap_or_default()
}

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
    pub requested: Amount,
    /// `None`: the cluster does not report the resource.
    pub free: Option<Amount>,
}

impl Packing {
    /// The first resource, by name, that does not suffice; `allocatable` says what there is of a resource in all,
    /// `reserved` what others take of it.
    pub(super) fn lacking(
        &self,
        allocatable: impl Fn(&str) -> Option<Amount>,
        reserved: impl Fn(&str) -> Amount,
    ) -> Option<Lacking> {
        self.requests.iter().find_map(|(resource, requested)| {
            let free = allocatable(resource).map(|all| all - reserved(resource));
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
        allocatable: impl Fn(&str) -> Option<Amount>,
        reserved: impl Fn(&str) -> Amount,
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
        allocatable: impl Fn(&str) -> Option<Amount>,
        reserved: impl Fn(&str) -> Amount,
    ) -> Option<f64> {
        let of = |(resource, requested): (&String, &Amount)| {
            let all = allocatable(resource)?.units();
            let taken = reserved(resource) + *requested;
            (all > 0.0).then(|| (taken.units() / all).clamp(0.0, 1.0))
        };
        let shares = self.requests.iter().filter_map(of);
        shares.fold(None, |most: Option<f64>, share| {
            Some(most.map_or(share, |most| most.max(share)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Amount {
        Amount::requested(&text.parse().unwrap())
    }

    #[test]
    fn what_is_left_is_counted_as_it_was_written() {
        let packing = Packing {
            requests: Amounts::from([("cpu".to_owned(), of("0.3"))]),
            strategy: Strategy::Fit,
        };
        let reserved = Amounts::from([("cpu".to_owned(), of("0.1") + of("0.2"))]);
        let lacking = |all: Amount| packing.lacking(|_| Some(all), in_all(&reserved));
        assert_eq!(lacking(of("0.6")), None);
        assert!(lacking(of("0.599")).is_some());
        // What is finer than a thousandth never makes it fit.
        let barely = Amount::available(&"599999999n".parse().unwrap());
        assert!(lacking(barely).is_some());
    }

    #[test]
    fn sums_beyond_the_largest_stay_there_in_any_order() {
        let most = Amount::thousandths(i64::MAX);
        let (one, two) = (of("1Ei"), of("3"));
        assert_eq!(one + most + two, two + one + most);
        let packing = Packing {
            requests: Amounts::from([("memory".to_owned(), of("1"))]),
            strategy: Strategy::Fit,
        };
        let reserved = Amounts::from([("memory".to_owned(), most + one)]);
        let lacking = packing.lacking(|_| Some(of("1Ei")), in_all(&reserved));
        assert!(lacking.is_some());
    }
}
