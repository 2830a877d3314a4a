//! What a calm network must come to, computed, to hold a run against.

/// A calm network: all towers run, know each other as alive, and nothing is lost.
///
/// # How much a tower sends
///
/// Let there be `N` towers and `M` messages, let each tower tick `r` times a second, and let bytes be on their way for `L` seconds. A tower uses the share `ρ` of its
/// ticks: it sends `r ρ` messages a second and, since all are alike, gets as many. By Little's law `r ρ L` messages for each tower are on the
/// wire (`F = N r ρ L` in all), and `m = (M - F) / N` wait at each. (What a sender keeps until it is confirmed does not wait.)
///
/// How long does one wait? A message that comes in finds `q` others, which go first, each at a tick of its own. Ticks stand on a grid, and it comes in
/// at any moment between two of them: half a period passes until the first. So it waits for `(½ + q) / r`, and by Little's law again
/// `m = ρ (½ + q)`.
///
/// In a large network a message finds what anybody would find at any time: `q = m`, and so
///
/// ```text
/// ρ = 2m / (1 + 2m)
/// ```
///
/// Ticks at random times have no memory: the first is a whole period away, and `ρ = m / (1 + m)`.
///
/// # What matters at one per cent
///
/// In a network of some hundred towers or less the message that comes in makes a difference: it never finds itself. It finds what anybody would find in a
/// network with `M - 1` messages. With that, `m` follows for one message, from it for two, and so on up to `M`; this is what is computed
/// here. For random ticks the result is exact; without latency both have closed forms, `M / (N / 2 + M - 1)` on a grid and `M / (N + M - 1)` at random. That a
/// tower never draws itself does not matter: what it keeps after it has sent one is, on average, what the others have.
///
/// Towers keep the phases that they began with, and with a latency how long a message waits for the first tick depends on the two phases. Over all pairs of
/// towers that comes to half a period give or take `1 / √(8 N (N - 1))` periods at the most: in each run a little different, however long that
/// is. This is part of the [`sigma`](Capacity::sigma) of a prediction. It is the most for a latency that is the same everywhere, and it vanishes without any.
///
/// All that assumes that links are never full and that no two copies of a message meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalmNetwork {
    /// How many towers there are, at least 2.
    pub towers: u32,
    /// How many messages there are.
    pub messages: u32,
    /// How many ticks a tower has in a second.
    pub send_rate: f64,
    /// How long bytes are on their way, in seconds, on average.
    pub latency: f64,
    /// When the ticks are.
    pub ticks: Ticks,
}

/// When a tower ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticks {
    /// At equal intervals: what towers do.
    Grid,
    /// At random, with the same number in a second on average.
    Random,
}

impl CalmNetwork {
    /// Which share of its ticks a tower uses.
    #[must_use]
    pub fn used_share(&self) -> f64 {
        self.share(0.0)
    }

    /// How many messages are on the wire.
    #[must_use]
    pub fn on_the_wire(&self) -> f64 {
        self.wire(self.used_share())
    }

    /// How often a second one tower hears one message.
    #[must_use]
    pub fn heard(&self) -> f64 {
        self.rate(self.used_share())
    }

    /// Compares the share of ticks that were used: messages handed over for the first time, divided by towers, send rate and time.
    #[must_use]
    pub fn judge_used_share(&self, measured: Average) -> Capacity {
        self.judge(|share| share, measured)
    }

    /// Compares how many messages were on the wire: the integral over time, divided by the time.
    #[must_use]
    pub fn judge_wire(&self, measured: Average) -> Capacity {
        self.judge(|share| self.wire(share), measured)
    }

    /// Compares how often a tower heard a message: messages received, divided by listeners, messages and time.
    #[must_use]
    pub fn judge_heard(&self, measured: Average) -> Capacity {
        self.judge(|share| self.rate(share), measured)
    }

    fn judge(&self, of: impl Fn(f64) -> f64, measured: Average) -> Capacity {
        let give = self.phase_spread();
        let model = (of(self.share(give)) - of(self.share(-give))) / 2.0;
        let sigma = measured.sigma.hypot(model);
        Capacity { predicted: of(self.used_share()), measured: measured.mean, sigma }
    }

    fn wire(&self, share: f64) -> f64 {
        f64::from(self.towers) * self.send_rate * share * self.latency
    }

    fn rate(&self, share: f64) -> f64 {
        self.send_rate * share / f64::from(self.messages.max(1))
    }

    /// The share of used ticks when a message waits for its first tick so many periods longer than it should.
    fn share(&self, longer: f64) -> f64 {
        let towers = f64::from(self.towers);
        let first = longer
            + match self.ticks {
                Ticks::Grid => 0.5,
                Ticks::Random => 1.0,
            };
        // All times are in periods.
        let under_way = self.latency * self.send_rate;
        let (mut share, mut waiting) = (0.0, 0.0);
        for messages in 1..=self.messages {
            let wait = first + waiting;
            share = f64::from(messages) / (wait + under_way) / towers;
            waiting = share * wait;
        }
        share
    }

    /// The standard deviation of how long a message waits for its first tick, in periods, over all draws of the phases.
    fn phase_spread(&self) -> f64 {
        let towers = f64::from(self.towers);
        match self.ticks {
            Ticks::Grid if self.latency > 0.0 => 1.0 / (8.0 * towers * (towers - 1.0)).sqrt(),
            Ticks::Grid | Ticks::Random => 0.0,
        }
    }
}

/// How many batches a run's samples make.
const BATCHES: usize = 20;

/// A time average with its standard deviation.
///
/// Samples that follow each other are alike, so the deviation of single ones says nothing about that of their mean. They are therefore put into 20
/// batches, one after the other, whose means hardly depend on each other when a batch is much longer than a message waits; the deviation
/// of these, divided by the root of their number, is that of the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Average {
    /// The mean of the samples.
    pub mean: f64,
    /// Its standard deviation.
    pub sigma: f64,
}

impl Average {
    /// Of samples that each cover the same time, without those from before the network was in balance. `None` when there are fewer than 40. Samples at the beginning
    /// that do not fill a batch are left out.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let size = samples.len() / BATCHES;
        if size < 2 {
            return None;
        }
        let used = samples.get(samples.len() - size * BATCHES..)?;
        let mean_of = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let means: Vec<_> = used.chunks_exact(size).map(mean_of).collect();
        let mean = mean_of(&means);
        let squares: f64 = means.iter().map(|batch| (batch - mean).powi(2)).sum();
        let count = BATCHES as f64;
        Some(Self { mean, sigma: (squares / (count - 1.0) / count).sqrt() })
    }
}

/// Something computed and the same thing measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// What it should be.
    pub predicted: f64,
    /// What it was.
    pub measured: f64,
    /// By how much the two may differ by chance: one standard deviation, of the measurement and of what the phases of a run come to.
    pub sigma: f64,
}

impl Capacity {
    /// By which share of the prediction the measurement differs from it.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        self.measured / self.predicted - 1.0
    }

    /// Whether they agree to within three standard deviations. What is no number never agrees.
    #[must_use]
    pub fn agrees(&self) -> bool {
        (self.measured - self.predicted).abs() <= 3.0 * self.sigma
    }
}

#[cfg(test)]
mod tests;
