//! Chance that can be repeated: splitmix64. The same seed makes the same choices, though not the same run, for the
//! processes take the time they take.

use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Others, for somebody else: what the two throw has nothing to do with each other.
    pub fn split(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// In 0..n.
    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// The time to the next of events that come by chance, so far apart on average.
    pub fn wait(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.unit()).ln())
    }

    /// Between the two, each order of magnitude as likely as any other.
    pub fn spread(&mut self, least: Duration, most: Duration) -> Duration {
        least.mul_f64((most.as_secs_f64() / least.as_secs_f64()).powf(self.unit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same_and_within_the_bounds() {
        let (mut one, mut other) = (Dice::new(7), Dice::new(7));
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(15));
        for _ in 0..1000 {
            assert_eq!(one.below(10), other.below(10));
            let lasts = one.spread(least, most);
            assert!((least..=most).contains(&lasts));
            assert_eq!(lasts, other.spread(least, most));
        }
        let mean = Duration::from_secs(1);
        let sum: Duration = (0..4000).map(|_| one.wait(mean)).sum();
        assert!((3600..4400).contains(&sum.as_secs()), "{sum:?}");
    }
}
