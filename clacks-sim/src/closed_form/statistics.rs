//! Averages of a run, and comparisons of averages with predictions.

/// The number of batches into which the samples of a run are divided. The value is a guess.
const BATCHES: usize = 20;

/// A time average with its standard error.
///
/// Consecutive samples are correlated, so the error of their mean does not follow from their
/// standard deviation. Therefore the samples are divided into 20 consecutive batches. The means of
/// the batches are nearly independent if a batch is much longer than a message waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Average {
    /// The mean of the samples.
    pub mean: f64,
    /// The standard error of the mean.
    pub sigma: f64,
}

impl Average {
    /// Returns the average of samples of equal duration, or `None` for fewer than 40 samples. The
    /// number of used samples is a multiple of 20. The first samples are skipped if necessary.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts of samples are exact in a float")]
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

/// A prediction and a measurement of the same quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The predicted value.
    pub predicted: f64,
    /// The measured value.
    pub measured: f64,
    /// The standard deviation of the difference between the two values.
    pub sigma: f64,
}

impl Comparison {
    /// Returns the difference as a share of the prediction.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        self.measured / self.predicted - 1.0
    }

    /// Returns whether the difference is at most three standard deviations. Returns false if a
    /// value is NaN.
    #[must_use]
    pub fn agrees(&self) -> bool {
        (self.measured - self.predicted).abs() <= 3.0 * self.sigma
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A SplitMix64 generator for the naive models of the tests.
    pub(in super::super) struct Random(pub(in super::super) u64);

    impl Random {
        /// Returns the next random number.
        pub(in super::super) fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ word >> 31
        }

        /// Returns a number from 0 to 1.
        pub(in super::super) fn unit(&mut self) -> f64 {
            (self.next() >> 11) as f64 / (1u64 << 53) as f64
        }

        /// Returns a number below a limit.
        pub(in super::super) fn below(&mut self, limit: usize) -> usize {
            usize::try_from(self.next() % limit as u64).unwrap()
        }

        /// Returns an index other than `own`.
        pub(in super::super) fn other(&mut self, own: usize, limit: usize) -> usize {
            let other = self.below(limit - 1);
            other + usize::from(other >= own)
        }

        /// Returns an exponentially distributed number.
        pub(in super::super) fn exponential(&mut self, mean: f64) -> f64 {
            -mean * (1.0 - self.unit()).ln()
        }
    }

    #[test]
    fn the_standard_error_accounts_for_correlated_samples() {
        // Each sample keeps 0.9 of the one before. The mean of n samples has (1 + 0.9) / (1 - 0.9)
        // = 19 times the variance of independent ones.
        let (mut random, mut value) = (Random(3), 0.0);
        let samples: Vec<_> = (0..20_000)
            .map(|_| {
                value = 0.9 * value + random.unit() - 0.5;
                value
            })
            .collect();
        let average = Average::of(&samples).unwrap();
        let independent = (1.0 / 12.0 / (1.0 - 0.81) / 20_000.0_f64).sqrt();
        let expected = independent * 19.0_f64.sqrt();
        assert!((0.6..1.5).contains(&(average.sigma / expected)), "{average:?}, {expected}");
        assert!(average.mean.abs() < 4.0 * expected);
        assert_eq!(Average::of(&samples[..39]), None);
    }

    #[test]
    fn three_standard_deviations_are_the_limit() {
        let comparison = |measured, sigma| Comparison { predicted: 2.0, measured, sigma };
        assert!(comparison(2.29, 0.1).agrees());
        assert!(!comparison(2.31, 0.1).agrees());
        assert!(!comparison(1.69, 0.1).agrees());
        assert!(!comparison(f64::NAN, 0.1).agrees());
        assert!(!comparison(2.0, f64::NAN).agrees());
        assert!((comparison(2.5, 0.1).relative_error() - 0.25).abs() < 1e-12);
    }
}
