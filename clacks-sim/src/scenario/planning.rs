//! From a scenario to a plan: everything is checked first, then worked out.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use clacks_proto::Instant;

use super::error::ScenarioError;
use super::fault::Deed;
use super::link::load;
use super::steps::{self, Drawer};
use super::{Churn, Path, Scenario};
use crate::plan::{self, Plan, WithContacts};
use crate::rng::Randomness;

/// How often the state of the network is written down when the scenario does not say.
const SAMPLES: u32 = 200;

impl Scenario {
    /// Works out which tower does what and when. Files that it names are looked for in the folder `base`.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, in one sentence. Nothing has begun to run.
    #[allow(dead_code, reason = "the runner calls it")]
    pub(crate) fn plan(&self, base: &FilePath) -> Result<Plan, ScenarioError> {
        self.plan_within(base, self.memory_limit())
    }

    /// The same with so many bytes of memory.
    pub(super) fn plan_within(
        &self,
        base: &FilePath,
        memory_limit: u64,
    ) -> Result<Plan, ScenarioError> {
        self.check()?;
        let loaded = self.with_files(base)?;
        // Again, with what was in the files.
        loaded.check()?;
        loaded.check_memory(memory_limit)?;
        let calm_from = loaded.calm_from()?;
        loaded.work_out(base, calm_from)
    }

    /// The same with the files read that its distributions name.
    fn with_files(&self, base: &FilePath) -> Result<Self, ScenarioError> {
        let mut loaded = self.clone();
        loaded.link.load("link", base)?;
        for (number, path) in loaded.paths.iter_mut().enumerate() {
            path.link.load(&format!("path.{number}.link"), base)?;
        }
        for (number, fault) in loaded.faults.iter_mut().enumerate() {
            if let Deed::LinkConditions { link } = &mut fault.what {
                link.load(&format!("fault.{number}.link"), base)?;
            }
        }
        if let Some(churn) = &mut loaded.churn {
            load("churn.session", Some(&mut churn.session), base)?;
            load("churn.absence", Some(&mut churn.absence), base)?;
        }
        Ok(loaded)
    }

    fn work_out(&self, base: &FilePath, calm_from: Duration) -> Result<Plan, ScenarioError> {
        let randomness = Randomness::new(self.seed);
        let mut drawer = Drawer::new(randomness, self.towers);
        let plan_path = |path: &Path| {
            let link = self.link.changed(&path.link);
            plan::Path {
                from: drawer.group("path from", &path.from),
                to: drawer.group("path to", &path.to),
                conditions: link.conditions().into(),
                calm: link.without_mishaps().conditions().into(),
            }
        };
        let (roles, addresses) = self.plan_roles()?;
        Ok(Plan {
            seed: self.seed,
            keys: self.keys,
            addresses,
            roles,
            towers: self.towers,
            config: Arc::new(self.tower.config()),
            time: self.time,
            calm_from: Instant::ORIGIN + calm_from,
            conditions: self.link.conditions(),
            paths: self.paths.iter().map(plan_path).collect(),
            message_size: self.messages.size,
            contacts: self.contacts.plan(self.towers, &randomness, base)?,
            steps: steps::plan(self, &mut drawer, calm_from),
            churn: self.churn.as_ref().map(|churn| plan_churn(churn, &mut drawer)),
            sample_every: self.sample_every(),
        })
    }

    /// How often the state of the network is written down.
    pub(super) fn sample_every(&self) -> Duration {
        self.sample.unwrap_or(self.time / SAMPLES).max(Duration::from_millis(1))
    }
}

fn plan_churn(churn: &Churn, drawer: &mut Drawer) -> plan::Churn {
    plan::Churn {
        towers: drawer.group("churn", &churn.towers),
        from: Instant::ORIGIN + churn.from,
        until: Instant::ORIGIN + churn.until,
        session: churn.session.clone(),
        absence: churn.absence.clone(),
        graceful: churn.graceful,
        contacts: if churn.contacts { WithContacts::Told } else { WithContacts::Untold },
    }
}
