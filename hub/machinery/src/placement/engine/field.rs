//! Those who may be chosen, asked one by one only as far as it takes to know the best.
//!
//! Candidates are gone through in an order in which a bound falls: by an amount or an add-on's score where one counts, by
//! name where none does. Once enough are known to be better than the bound, nobody further can be better. Of whom more
//! must be known than the order says — who is held, tainted, or without that amount or score — is asked before.

use jiff::Timestamp;

use super::{
    Engine,
    bits::Bits,
    fleet::Slot,
    marks::measured,
    ranking::{Leaders, Ranked},
    scale::{Balance, Expired, Scale},
    sorted::Sorted,
};
use crate::placement::{
    Amount, Prioritizer, Resource, Weighted,
    evaluate::Earliest,
    score::{MAX_SCORE, Span},
};

/// Fewer candidates are all asked; tests try the other way with few.
const ASK_ALL: usize = if cfg!(test) { 2 } else { 256 };

/// The candidates of one choice.
pub(super) struct Field<'a> {
    engine: &'a Engine,
    pub(super) scale: Scale<'a>,
    now: Timestamp,
    /// Feasible, and with their worth.
    pub(super) asked: Vec<Ranked>,
    /// The others, if there are any.
    walk: Option<Walk<'a>>,
    /// When something about a candidate expires.
    pub(super) recheck_at: Option<Timestamp>,
    pub(super) expired: Option<Expired>,
}

/// Candidates that are not held, have no taint, and have a value of what they are ordered by.
struct Walk<'a> {
    among: Bits,
    order: &'a [Slot],
    /// The worst first.
    backwards: bool,
    /// Place of the prioritizer that they are ordered by; by name if there is none.
    by: Option<usize>,
    /// The most that the other prioritizers give anybody, and the same without `Balance`.
    rest: i64,
    rest_but_load: i64,
    /// Whether those of the same value are in the order of their names.
    ties_by_name: bool,
}

impl<'a> Field<'a> {
    /// `few`: it will be asked for some of the best only.
    pub(super) fn new(
        engine: &'a Engine,
        scale: Scale<'a>,
        admitted: &Bits,
        few: bool,
        now: Timestamp,
    ) -> Self {
        let mut field = Self {
            engine,
            scale,
            now,
            asked: Vec::new(),
            walk: None,
            recheck_at: None,
            expired: None,
        };
        let mut expiry = Earliest::default();
        let walk = if few { field.plan(admitted) } else { None };
        match &walk {
            None => field.ask(admitted, &mut expiry),
            Some(walk) => {
                let mut others = admitted.clone();
                others.without(&walk.among);
                field.ask(&others, &mut expiry);
            }
        }
        field.measure(walk.as_ref());
        if let Some(walk) = walk {
            let (balance, rest_but_load) = field.rest(walk.by);
            field.ends(&walk).into_iter().for_each(|at| expiry.add(at));
            field.walk = Some(Walk {
                rest: balance + rest_but_load,
                rest_but_load,
                ..walk
            });
        }
        for one in 0..field.asked.len() {
            let slot = field.asked[one].slot;
            field.asked[one].worth = field.worth(slot, &mut expiry);
        }
        field.recheck_at = expiry.at();
        field
    }

    /// How the candidates can be gone through, if that is less than asking everybody.
    fn plan(&self, admitted: &Bits) -> Option<Walk<'a>> {
        let (engine, policy) = (self.engine, self.scale.policy);
        let all = admitted.count();
        // How full a cluster is, is to be asked of each: it depends on what is requested, so an order would have to be kept
        // for each combination of that. Asking takes no more than a few sums, which are kept.
        let packs = |one: &Weighted| one.prioritizer == Prioritizer::Packing;
        if all < ASK_ALL || policy.prioritizers.iter().any(packs) {
            return None;
        }
        let ordered = policy.prioritizers.iter().enumerate();
        let ordered = ordered.filter_map(|(at, one)| {
            let sorted = engine.orders.get(&one.prioritizer)?;
            Some((at, one, sorted))
        });
        let by = ordered.max_by_key(|(_, one, _)| one.weight.abs());
        let mut among = admitted.clone();
        among.without(engine.fleet.tainted());
        for slot in &self.scale.placed.held {
            among.set(*slot, false);
        }
        for published in self.scale.published.iter().flatten() {
            for slot in published.ended(self.now) {
                among.set(slot, false);
            }
        }
        let walk = match by {
            None => Walk {
                among,
                order: engine.fleet.by_name(),
                backwards: false,
                by: None,
                rest: 0,
                rest_but_load: 0,
                ties_by_name: true,
            },
            Some((at, one, sorted)) => {
                among.and(&sorted.has);
                Walk {
                    among,
                    order: sorted.slots(),
                    backwards: one.weight < 0,
                    by: Some(at),
                    rest: 0,
                    rest_but_load: 0,
                    // Different amounts may have the same score.
                    ties_by_name: one.weight > 0
                        && matches!(one.prioritizer, Prioritizer::AddOn { .. }),
                }
            }
        };
        (2 * walk.among.count() >= all).then_some(walk)
    }

    fn ask(&mut self, who: &Bits, expiry: &mut Earliest) {
        for slot in who.iter() {
            if let Some(avoided) = self.engine.passes(&self.scale, slot, self.now, expiry) {
                self.asked.push(Ranked {
                    avoided,
                    worth: 0,
                    order: self.engine.fleet.order(slot),
                    slot,
                });
            }
        }
    }

    /// Finds the least and the most of what candidates are measured by.
    fn measure(&mut self, walk: Option<&Walk<'_>>) {
        let engine = self.engine;
        let mut asked = Bits::default();
        if walk.is_some() {
            for one in &self.asked {
                asked.set(one.slot, true);
            }
        }
        for resource in measured(self.scale.policy) {
            let sorted = engine.orders.get(&Prioritizer::Allocatable(resource));
            let span = match (walk, sorted) {
                (Some(walk), Some(sorted)) => {
                    let feasible = |slot: &Slot| {
                        asked.has(*slot) || walk.among.has(*slot) && engine.fits(&self.scale, *slot)
                    };
                    engine.span(sorted, resource, feasible)
                }
                _ => {
                    let amounts = self.asked.iter();
                    let amounts =
                        amounts.filter_map(|one| engine.scored(&self.scale, one.slot, resource));
                    Span::of(amounts)
                }
            };
            self.scale.spans[resource as usize] = span;
        }
    }

    /// When the first score of those ends who are not asked, for each prioritizer.
    fn ends(&self, walk: &Walk<'_>) -> Vec<Timestamp> {
        let each = self.scale.policy.prioritizers.iter();
        let first = each
            .zip(&self.scale.published)
            .filter_map(|(one, published)| {
                let (Prioritizer::AddOn { score, .. }, Some(published)) =
                    (&one.prioritizer, published)
                else {
                    return None;
                };
                let counts = |slot: Slot| {
                    let one = published.get(slot).filter(|_| walk.among.has(slot));
                    one.is_some_and(|one| one.value(score).is_some())
                        && self.engine.fits(&self.scale, slot)
                };
                let mut ending = published.ending(self.now);
                ending.find(|(_, slot)| counts(*slot)).map(|(at, _)| at)
            });
        first.collect()
    }

    /// The most that `Balance` gives to somebody who is not held, and that all others but the one at `but` do.
    fn rest(&self, but: Option<usize>) -> (i64, i64) {
        let (engine, scale) = (self.engine, &self.scale);
        let (mut balance, mut others) = (0, 0);
        for (at, one) in scale.policy.prioritizers.iter().enumerate() {
            match &one.prioritizer {
                _ if Some(at) == but => {}
                Prioritizer::Balance if scale.balance == Balance::LeftOut => {}
                Prioritizer::Balance => {
                    let least = engine.counts.least_of(engine.fleet.slots());
                    let level = if one.weight > 0 { least } else { scale.most };
                    balance += one.weight * scale.level(level);
                }
                Prioritizer::Steady => {}
                Prioritizer::Allocatable(_) | Prioritizer::Packing => {
                    others += one.weight.abs() * MAX_SCORE;
                }
                add_on @ Prioritizer::AddOn { .. } => {
                    let slots = engine.orders.get(add_on).map_or(&[][..], Sorted::slots);
                    let ends = slots.first().into_iter().chain(slots.last());
                    let value = |slot: &Slot| engine.published(add_on, *slot).unwrap_or(0);
                    let most = ends.map(|slot| one.weight * value(slot));
                    others += most.fold(0, i64::max);
                }
            }
        }
        (balance, others)
    }

    /// The less, the better.
    fn worth(&mut self, slot: Slot, expiry: &mut Earliest) -> i64 {
        let (engine, scale) = (self.engine, &self.scale);
        let total = engine.total(scale, slot, self.now, expiry, &mut self.expired);
        scale.worth(total, scale.holds(slot))
    }

    /// The feasible ones that are held.
    pub(super) fn held(&self) -> Vec<Ranked> {
        let held = self.asked.iter().filter(|one| self.scale.holds(one.slot));
        held.copied().collect()
    }

    /// The best, best first.
    pub(super) fn best(&self, wanted: usize) -> Vec<Ranked> {
        let mut leaders = Leaders::of(wanted.min(self.engine.fleet.slots()));
        for one in &self.asked {
            leaders.offer(*one);
        }
        if let Some(walk) = &self.walk {
            self.go_through(walk, &mut leaders);
        }
        leaders.in_order()
    }

    fn go_through(&self, walk: &Walk<'_>, leaders: &mut Leaders) {
        let (engine, scale) = (self.engine, &self.scale);
        // When their scores end is known already.
        let (mut expiry, mut expired) = (Earliest::default(), None);
        for step in 0..walk.order.len() {
            let slot = if walk.backwards {
                walk.order[walk.order.len() - 1 - step]
            } else {
                walk.order[step]
            };
            if !walk.among.has(slot) {
                continue;
            }
            let order = engine.fleet.order(slot);
            let value = walk.by.map_or(0, |at| {
                let one = &scale.policy.prioritizers[at];
                one.weight * engine.score(scale, at, slot, self.now, &mut expiry, &mut expired)
            });
            let no_better = Ranked {
                avoided: 0,
                worth: scale.worth(value + walk.rest, false),
                order: if walk.ties_by_name { order } else { 0 },
                slot,
            };
            if leaders.are_before(&no_better) {
                return;
            }
            let known = Ranked {
                worth: scale.worth(
                    value + walk.rest_but_load + engine.balanced(scale, slot),
                    false,
                ),
                order,
                ..no_better
            };
            if leaders.are_before(&known) || !engine.fits(scale, slot) {
                continue;
            }
            let total = engine.total(scale, slot, self.now, &mut expiry, &mut expired);
            leaders.offer(Ranked {
                avoided: 0,
                worth: scale.worth(total, false),
                order,
                slot,
            });
        }
    }
}

impl Engine {
    /// The span of an amount among those who are feasible: found at the ends of its order.
    fn span(&self, sorted: &Sorted, resource: Resource, feasible: impl Fn(&Slot) -> bool) -> Span {
        let amount = |slot: &Slot| {
            let row = self.fleet.row(*slot)?;
            self.fleet.scored(row, resource).map(Amount::units)
        };
        let most = sorted.slots().iter().filter(|slot| feasible(slot));
        let least = sorted.slots().iter().rev().filter(|slot| feasible(slot));
        Span::between(least.filter_map(amount), most.filter_map(amount))
    }
}
