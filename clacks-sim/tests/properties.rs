//! A test that random scenarios violate no rule.
//!
//! `CLACKS_SIM_SEEDS=0..300 cargo test --release -p clacks-sim --test properties` runs more seeds.
//! `clacks sim swarm --seeds 0..300` runs the same scenarios on all cores.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use clacks_proto::Status;
use clacks_sim::{Fault, FaultCount, LossCause, Options, Outcome, Scenario, Simulation, TowerId};
use common::{regressions, run, seconds, seeds, violations};

#[test]
fn random_scenarios_violate_no_rule() {
    let mut campaign = Campaign::default();
    for seed in seeds(0..60) {
        let outcome = run(&Scenario::swarm(seed));
        if let Some(violations) = violations(&outcome) {
            panic!("{violations}\nrun it again: clacks sim swarm --seed {seed}");
        }
        campaign.add(&outcome);
    }
    assert_eq!(campaign.idle(), []);
}

#[test]
fn messages_end_by_their_lifetime_or_by_a_fault() {
    let mut expired = 0;
    for seed in seeds(0..12) {
        let mut scenario = Scenario::swarm(seed);
        scenario.tower.lifetime = Some(seconds(60));
        scenario.tower.max_lifetime = Some(seconds(90));
        let outcome = run(&scenario);
        if let Some(violations) = violations(&outcome) {
            panic!("seed {seed}: {violations}");
        }
        expired += outcome.totals.lost(LossCause::Expired);
    }
    assert!(expired > 100, "{expired} messages expired");
}

/// The faults of many scenarios. A single run can be too short for a random fault, or can crash a
/// tower that is not running.
#[derive(Default)]
struct Campaign {
    faults: BTreeMap<Fault, Count>,
}

/// The number of scenarios with a scheduled or random fault, and the number of times that the fault
/// happened.
#[derive(Default)]
struct Count {
    planned: u32,
    random: u32,
    happened: u64,
}

impl Campaign {
    fn add(&mut self, outcome: &Outcome) {
        for FaultCount { fault, planned, happened } in &outcome.faults {
            let count = self.faults.entry(*fault).or_default();
            count.planned += u32::from(matches!(planned, Some(Some(_))));
            count.random += u32::from(matches!(planned, Some(None)));
            count.happened += happened;
        }
    }

    /// Returns the faults that were part of many scenarios and never happened.
    fn idle(&self) -> Vec<Fault> {
        let is_idle = |(_, count): &(&Fault, &Count)| {
            count.happened == 0 && (count.planned >= 5 || count.random >= 20)
        };
        self.faults.iter().filter(is_idle).map(|(fault, _)| *fault).collect()
    }
}

#[test]
fn a_campaign_finds_faults_that_never_happen() {
    let idle = |planned, happened, scenarios| {
        let mut outcome = run(&Scenario::new("idle", 1, seconds(1)));
        outcome.faults = vec![FaultCount { fault: Fault::Crash, planned, happened }];
        let mut campaign = Campaign::default();
        (0..scenarios).for_each(|_| campaign.add(&outcome));
        campaign.idle()
    };
    assert_eq!(idle(Some(Some(1)), 0, 5), [Fault::Crash]);
    assert_eq!(idle(Some(None), 0, 20), [Fault::Crash]);
    assert_eq!(idle(Some(None), 0, 19), []);
    assert_eq!(idle(Some(Some(1)), 1, 5), []);
    assert_eq!(idle(None, 0, 50), []);
}

#[test]
fn regression_scenarios_pass() {
    for file in regressions() {
        let outcome = run(&Scenario::load(&file).unwrap());
        assert_eq!(violations(&outcome), None, "{}", file.display());
    }
}

/// Returns the statuses of the peers of each tower after a run. Dead peers count as lost.
fn statuses(simulation: &Simulation) -> Vec<Vec<Status>> {
    let statuses = |tower| {
        let tower = simulation.tower(TowerId(tower))?;
        let status = |status| if status == Status::Dead { Status::Lost } else { status };
        let mut peers: Vec<_> = tower.survey().map(|peer| status(peer.status)).collect();
        peers.sort();
        Some(peers)
    };
    (0..4).filter_map(statuses).collect()
}

#[test]
fn the_scenarios_of_the_original_end_as_its_document_says_under_both_configurations() {
    use Status::{Alive, Lost};
    for is_original in [false, true] {
        for (name, expected, messages) in [
            ("original-1", vec![vec![Alive; 2]; 3], 1..=1),
            // The message may be at the tower that crashes.
            ("original-2", vec![vec![Alive, Alive, Lost]; 3], 0..=1),
            ("original-3", vec![vec![Alive; 3]; 4], 0..=3),
        ] {
            for seed in seeds(1..4) {
                let mut scenario = Scenario::named(name).unwrap().seed(seed);
                if is_original {
                    scenario.use_original_config().unwrap();
                }
                let options = Options::default();
                let mut simulation = Simulation::new(&scenario, Path::new("."), options).unwrap();
                while !simulation.advance(100_000).is_over {}
                let case = format!("{name}, original: {is_original}, seed {seed}");
                assert_eq!(statuses(&simulation), expected, "{case}");
                let outcome = simulation.finish();
                assert_eq!(violations(&outcome), None, "{case}");
                assert!(messages.contains(&outcome.totals.alive), "{case}");
            }
        }
    }
}

#[test]
fn the_hash_depends_only_on_the_scenario_and_its_seed() {
    let hash = |seed| run(&Scenario::swarm(seed)).hash;
    let hashes: Vec<_> = (0..4).map(hash).collect();
    assert_eq!(hashes, (0..4).map(hash).collect::<Vec<_>>());
    assert_ne!(run(&Scenario::swarm(0).seed(1)).hash, hashes[0]);
}

#[test]
fn a_run_ends_when_the_network_has_converged() {
    let scenario = Scenario::new("quick", 5, seconds(600));
    let outcome = run(&scenario);
    assert!(outcome.is_over && outcome.simulated < seconds(2_000), "{:?}", outcome.simulated);
    // Without contacts, the towers never discover each other.
    let outcome = run(&scenario
        .contacts(|it| it.shape = clacks_sim::scenario::Shape::None)
        .checks(|it| it.settle_within = seconds(50)));
    assert_eq!(outcome.simulated, seconds(650));
    assert_eq!(outcome.violations[0].checker, clacks_sim::Checker::Convergence);
}
