//! `[contacts]`: the addresses that each tower knows when it starts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::error::ScenarioError;
use crate::observation::TowerId;
use crate::plan;
use crate::rng::{Purpose, RngStream, RngStreams};

/// The number of attempts to repair a random cycle before the graph is built in a way that can't
/// fail (guess: a few suffice unless nearly all towers are neighbours).
const MAX_REPAIRS: usize = 64;

/// The addresses that a tower gets when it starts for the first time, and again after faults
/// with `contacts = true`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Contacts {
    /// The graph of contacts, at most 100 000 000 of all towers together. Default: `well-known`.
    pub shape: Shape,
    /// With `shape = "regular"`: the number of contacts of each tower, 2 to 256 and less than the
    /// number of towers. Default: 8.
    pub degree: u32,
    /// With `shape = "well-known"`: the number of well-known towers. Default: 1.
    pub known: u32,
    /// With `shape = "file"`: the path of a CSV file with the columns `from` and `to`, relative to
    /// the folder of the scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// What a tower does with its contacts. Default: `announce`.
    pub verb: ContactVerb,
    /// The time over which the towers start, in the order of their numbers. Default: 0s.
    #[serde(with = "crate::duration")]
    pub spread: Duration,
}

/// A graph of contacts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Shape {
    /// All towers know the first ones.
    #[default]
    WellKnown,
    /// Each tower knows the next one.
    Ring,
    /// A random connected graph in which all towers have the same number of neighbours.
    Regular,
    /// All towers know each other; at most 10 000 towers.
    Full,
    /// The graph of a file.
    File,
    /// No tower knows another.
    None,
}

/// What a tower does with a contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContactVerb {
    /// The tower dials the contact at once and announces itself.
    #[default]
    Announce,
    /// The tower adds the contact to its peers, as new.
    Expand,
}

impl Default for Contacts {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            degree: 8,
            known: 1,
            file: None,
            verb: ContactVerb::default(),
            spread: Duration::ZERO,
        }
    }
}

impl Contacts {
    /// Returns the contacts of every tower.
    pub(super) fn plan(
        &self,
        towers: u32,
        streams: &RngStreams,
        base: &Path,
    ) -> Result<plan::Contacts, ScenarioError> {
        let others = |tower: u32, count: u32| (0..count).filter(move |other| *other != tower);
        let (first, all) = match self.shape {
            Shape::None => (Vec::new(), Vec::new()),
            Shape::WellKnown => each(towers, |tower| others(tower, self.known)),
            Shape::Full => each(towers, |tower| others(tower, towers)),
            Shape::Ring => each(towers, |tower| {
                let next = if tower + 1 < towers { tower + 1 } else { 0 };
                (next != tower).then_some(next)
            }),
            Shape::Regular => {
                let mut rng = streams.stream(Purpose::Topology, 0);
                let graph = regular(towers, self.degree, &mut rng);
                each(towers, |tower| graph.neighbours(tower).iter().copied())
            }
            Shape::File => self.read_file(towers, base)?,
        };
        Ok(plan::Contacts { first, all, verb: self.verb })
    }

    fn read_file(&self, towers: u32, base: &Path) -> Result<Lists, ScenarioError> {
        let path = base.join(self.file.as_deref().unwrap_or(Path::new("")));
        let text = std::fs::read_to_string(&path)
            .map_err(|cause| ScenarioError::File { path: path.clone(), cause })?;
        let pairs = parse(&text, towers).map_err(|(line, problem)| {
            let file = path.display();
            ScenarioError::field("contacts.file", format!("is {file}; its line {line} {problem}"))
        })?;
        let mut at = 0;
        Ok(each(towers, |tower| {
            let start = at;
            while pairs.get(at).is_some_and(|(from, _)| *from == tower) {
                at += 1;
            }
            pairs[start..at].iter().map(|(_, to)| *to)
        }))
    }
}

/// The index of each tower's first contact, and the contacts of all towers.
type Lists = (Vec<u32>, Vec<TowerId>);

fn each<I: IntoIterator<Item = u32>>(towers: u32, mut of: impl FnMut(u32) -> I) -> Lists {
    let mut first = Vec::with_capacity(towers as usize + 1);
    let mut all = Vec::new();
    for tower in 0..towers {
        first.push(index(all.len()));
        all.extend(of(tower).into_iter().map(TowerId));
    }
    first.push(index(all.len()));
    (first, all)
}

/// The limits of shapes and files keep the number of contacts below 2^32.
fn index(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// Returns the pairs of a CSV file in ascending order, each once. The file has two columns of
/// numbers. A header `from,to`, empty lines, and lines that begin with `#` are skipped.
fn parse(text: &str, towers: u32) -> Result<Vec<(u32, u32)>, (usize, String)> {
    let mut pairs = Vec::new();
    for (line, row) in text.lines().enumerate() {
        let row = row.trim();
        if row.is_empty() || row.starts_with('#') || pairs.is_empty() && row == "from,to" {
            continue;
        }
        let pair = row.split_once(',').and_then(|(from, to)| {
            Some((from.trim().parse::<u32>().ok()?, to.trim().parse::<u32>().ok()?))
        });
        let wrong = |problem: String| Err((line + 1, problem));
        match pair {
            None => return wrong(format!("is \"{row}\"; it must be two numbers like \"3,17\"")),
            Some((from, to)) if from.max(to) >= towers => {
                let last = towers.saturating_sub(1);
                return wrong(format!("names tower {}; it must be from 0 to {last}", from.max(to)));
            }
            Some((from, to)) if from == to => {
                return wrong(format!("names tower {from} twice; no tower is its own contact"));
            }
            Some(pair) => pairs.push(pair),
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    Ok(pairs)
}

/// A graph in which all towers have the same number of neighbours.
struct Graph {
    degree: usize,
    /// The neighbours of all towers, `degree` entries for each.
    all: Vec<u32>,
    /// The number of neighbours that each tower has so far.
    filled: Vec<u32>,
}

impl Graph {
    fn new(towers: u32, degree: u32) -> Self {
        let (towers, degree) = (towers as usize, degree as usize);
        Self { degree, all: vec![u32::MAX; towers * degree], filled: vec![0; towers] }
    }

    fn neighbours(&self, tower: u32) -> &[u32] {
        let from = tower as usize * self.degree;
        &self.all[from..from + self.filled[tower as usize] as usize]
    }

    fn join(&mut self, one: u32, other: u32) {
        for (one, other) in [(one, other), (other, one)] {
            let place = &mut self.filled[one as usize];
            self.all[one as usize * self.degree + *place as usize] = other;
            *place += 1;
        }
    }

    fn are_joined(&self, one: u32, other: u32) -> bool {
        self.neighbours(one).contains(&other)
    }
}

/// Returns a random connected regular graph: the union of random cycles through all towers, and of
/// random pairs if the degree is odd. (For large networks this is as good as a uniform draw among
/// all regular graphs.)
fn regular(towers: u32, degree: u32, rng: &mut RngStream) -> Graph {
    let mut graph = Graph::new(towers, degree);
    for _ in 0..degree / 2 {
        let Some(cycle) = drawn(towers, 1, &graph, rng) else {
            return circulant(towers, degree, rng);
        };
        for at in 0..cycle.len() {
            graph.join(cycle[at], cycle[following(at, cycle.len())]);
        }
    }
    if degree % 2 == 1 {
        let Some(pairs) = drawn(towers, 2, &graph, rng) else {
            return circulant(towers, degree, rng);
        };
        for pair in pairs.chunks_exact(2) {
            graph.join(pair[0], pair[1]);
        }
    }
    graph
}

/// Returns a random order of the towers in which no tower is followed by a neighbour. Only every
/// `step`th tower is checked. Returns `None` if the repairs of an order do not suffice.
fn drawn(towers: u32, step: usize, graph: &Graph, rng: &mut RngStream) -> Option<Vec<u32>> {
    let mut order: Vec<u32> = (0..towers).collect();
    order.shuffle(rng);
    let count = order.len();
    for _ in 0..MAX_REPAIRS {
        let mut is_right = true;
        for at in (0..count).step_by(step) {
            let next = following(at, count);
            if graph.are_joined(order[at], order[next]) {
                is_right = false;
                let other = usize::try_from(rng.below(u64::from(towers))).unwrap_or(0);
                order.swap(next, other);
            }
        }
        if is_right {
            return Some(order);
        }
    }
    None
}

fn following(at: usize, count: usize) -> usize {
    if at + 1 < count { at + 1 } else { 0 }
}

/// Returns the graph of a random circle: each tower is joined with the nearest ones on both sides,
/// and with the opposite one if the degree is odd.
fn circulant(towers: u32, degree: u32, rng: &mut RngStream) -> Graph {
    let mut order: Vec<u32> = (0..towers).collect();
    order.shuffle(rng);
    let mut graph = Graph::new(towers, degree);
    let count = order.len();
    for far in 1..=degree as usize / 2 {
        for at in 0..count {
            graph.join(order[at], order[(at + far) % count]);
        }
    }
    if degree % 2 == 1 {
        for at in 0..count / 2 {
            graph.join(order[at], order[at + count / 2]);
        }
    }
    graph
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn planned(contacts: &Contacts, towers: u32) -> plan::Contacts {
        contacts.plan(towers, &RngStreams::new(5), Path::new(".")).unwrap()
    }

    fn shaped(shape: Shape) -> Contacts {
        Contacts { shape, ..Contacts::default() }
    }

    fn lists(contacts: &plan::Contacts, towers: u32) -> Vec<Vec<u32>> {
        let of = |tower| contacts.of(TowerId(tower)).iter().map(|other| other.0).collect();
        (0..towers).map(of).collect()
    }

    /// How many towers can be reached from the first one.
    fn reach(lists: &[Vec<u32>]) -> usize {
        let mut seen = vec![false; lists.len()];
        let mut ahead = vec![0];
        while let Some(tower) = ahead.pop() {
            if !std::mem::replace(&mut seen[tower as usize], true) {
                ahead.extend(&lists[tower as usize]);
            }
        }
        seen.iter().filter(|seen| **seen).count()
    }

    proptest! {
        #[test]
        fn regular_graphs_are_regular_mutual_and_connected(
            towers in 3u32..200, degree in 2u32..24, seed: u64,
        ) {
            let degree = degree.min(towers - 1);
            prop_assume!(degree % 2 == 0 || towers % 2 == 0);
            let contacts = Contacts { degree, ..shaped(Shape::Regular) };
            let plan = contacts.plan(towers, &RngStreams::new(seed), Path::new(".")).unwrap();
            let lists = lists(&plan, towers);
            for (tower, others) in (0..).zip(&lists) {
                prop_assert_eq!(others.len(), degree as usize);
                let different: std::collections::BTreeSet<_> = others.iter().collect();
                prop_assert_eq!(different.len(), others.len(), "no contact twice");
                for other in others {
                    prop_assert_ne!(*other, tower);
                    prop_assert!(lists[*other as usize].contains(&tower));
                }
            }
            prop_assert_eq!(reach(&lists), towers as usize);
        }
    }

    #[test]
    fn a_complete_graph_is_regular_too() {
        let contacts = Contacts { degree: 7, ..shaped(Shape::Regular) };
        let lists = lists(&planned(&contacts, 8), 8);
        assert!(lists.iter().all(|others| others.len() == 7));
    }

    #[test]
    fn a_ring_leads_round_and_a_star_to_its_middle() {
        let ring = lists(&planned(&shaped(Shape::Ring), 4), 4);
        assert_eq!(ring, [[1], [2], [3], [0]]);
        let star = lists(&planned(&shaped(Shape::WellKnown), 4), 4);
        assert_eq!(star, [vec![], vec![0], vec![0], vec![0]]);
        let known = Contacts { known: 2, ..shaped(Shape::WellKnown) };
        assert_eq!(lists(&planned(&known, 3), 3), [vec![1], vec![0], vec![0, 1]]);
        let full = lists(&planned(&shaped(Shape::Full), 3), 3);
        assert_eq!(full, [[1, 2], [0, 2], [0, 1]]);
        assert_eq!(lists(&planned(&shaped(Shape::None), 2), 2), [[0; 0]; 2]);
    }

    #[test]
    fn one_tower_alone_has_no_contacts() {
        for shape in [Shape::Ring, Shape::WellKnown, Shape::Full] {
            assert_eq!(lists(&planned(&shaped(shape), 1), 1), [[0; 0]]);
        }
    }

    #[test]
    fn a_file_is_read_line_by_line() {
        let text = "from,to\n# a triangle\n2,0\n0,1\n\n1, 2\n0,1\n";
        assert_eq!(parse(text, 3), Ok(vec![(0, 1), (1, 2), (2, 0)]));
        for (text, line, said) in [
            ("0,1\n0;2", 2, "is \"0;2\"; it must be two numbers like \"3,17\""),
            ("0,3", 1, "names tower 3; it must be from 0 to 2"),
            ("1,1", 1, "names tower 1 twice; no tower is its own contact"),
        ] {
            assert_eq!(parse(text, 3), Err((line, said.to_owned())));
        }
    }
}
