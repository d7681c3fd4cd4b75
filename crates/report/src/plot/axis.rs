//! Axes: a range of numbers or a list of names, and where their ticks stand.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// One axis. Values outside of its range are drawn at its ends.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What it shows, with the unit.
    pub label: String,
    low: f64,
    high: f64,
    log: bool,
    ticks: Vec<(f64, String)>,
    minor: Vec<f64>,
}

/// Ticks that an axis has about.
const TICKS: f64 = 5.0;
/// Part of its length that an axis goes on beyond the values.
const AIR: f64 = 0.05;
/// The least that a logarithmic axis shows, in powers of ten.
const LEAST_DECADES: f64 = 0.5;

impl Axis {
    /// A logarithmic axis around the positive values; `None` without any.
    pub fn log(label: &str, values: impl Iterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.filter(|value| *value > 0.0 && value.is_finite()).collect();
        let (low, high) = range(&values)?;
        let (mut low, mut high) = (low.log10(), high.log10());
        let short = (LEAST_DECADES - (high - low)).max(0.0) / 2.0;
        low -= short;
        high += short;
        let air = AIR * (high - low);
        low -= air;
        high += air;
        let decades = high - low;
        let digits: &[f64] = match decades {
            _ if decades < 1.0 => &[1.0, 2.0, 3.0, 5.0, 7.0],
            _ if decades < 2.0 => &[1.0, 2.0, 5.0],
            _ if decades < 3.0 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let step = (decades / (TICKS + 1.0)).ceil().max(1.0) as i32;
        let powers = || low.floor() as i32..=high.ceil() as i32;
        let inside = |value: &f64| (low..=high).contains(&value.log10());
        let at = |digit: f64, power: i32| digit * 10f64.powi(power);
        let ticks = powers().filter(|power| power.rem_euclid(step) == 0);
        let ticks = ticks.flat_map(|power| digits.iter().map(move |digit| at(*digit, power)));
        let ticks = ticks.filter(inside).map(|value| (value, written(value))).collect();
        let minor =
            powers().flat_map(|power| (1..10).map(move |digit| at(f64::from(digit), power)));
        let minor = if decades < 4.0 { minor.filter(inside).collect() } else { Vec::new() };
        Some(Self { label: label.to_owned(), low, high, log: true, ticks, minor })
    }

    /// A linear axis around the values; `None` without any.
    pub fn linear(label: &str, values: impl Iterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let (low, high) = range(&values)?;
        let length = if high > low { high - low } else { low.abs().max(1.0) };
        let (low, high) = (low - AIR * length, high + AIR * length);
        let unit = 10f64.powf((length / TICKS).log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|digit| digit * unit);
        let step = step.into_iter().find(|step| length / step <= TICKS + 0.5).unwrap_or(length);
        let first = (low / step).ceil() as i64;
        let ticks = (first..).map(|i| i as f64 * step).take_while(|value| *value <= high);
        let ticks = ticks.map(|value| (value, written(value))).collect();
        Some(Self { label: label.to_owned(), low, high, log: false, ticks, minor: Vec::new() })
    }

    /// Names in a row: the i-th stands at i.
    pub fn names(label: &str, names: &[String]) -> Self {
        let ticks = names.iter().enumerate().map(|(i, name)| (i as f64, name.clone())).collect();
        let (low, high) = (-0.5, names.len() as f64 - 0.5);
        Self { label: label.to_owned(), low, high, log: false, ticks, minor: Vec::new() }
    }

    /// Names from top to bottom: the i-th stands at −i.
    pub fn list(label: &str, names: &[String]) -> Self {
        let mut axis = Self::names(label, names);
        (axis.low, axis.high) = (-axis.high, -axis.low);
        axis.ticks.iter_mut().for_each(|(at, _)| *at = -*at);
        axis.ticks.reverse();
        axis
    }

    /// The text at a tick.
    pub fn text(&self, value: f64) -> String {
        let tick = self.ticks.iter().find(|(tick, _)| *tick == value);
        tick.map(|(_, text)| text.clone()).unwrap_or_default()
    }

    /// Most characters of a tick's text.
    pub fn widest(&self) -> usize {
        self.ticks.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(0)
    }

    /// Number of ticks.
    pub fn len(&self) -> usize {
        self.ticks.len()
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        let place = match self.log {
            true if *value <= 0.0 => self.low,
            true => value.log10(),
            false => *value,
        };
        let share = (place.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        start + (f64::from(end - start) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            self.minor.clone()
        } else {
            self.ticks.iter().map(|(value, _)| *value).collect()
        }
    }

    fn range(&self) -> Range<f64> {
        if self.log { 10f64.powf(self.low)..10f64.powf(self.high) } else { self.low..self.high }
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.text(*value)
    }
}

fn range(values: &[f64]) -> Option<(f64, f64)> {
    let low = values.iter().copied().reduce(f64::min)?;
    let high = values.iter().copied().reduce(f64::max)?;
    Some((low, high))
}

/// A number as ticks say it: 0.05, 200, 20k, 3M, 10¹³.
pub fn written(value: f64) -> String {
    let size = value.abs();
    match value {
        _ if size == 0.0 => "0".to_owned(),
        _ if !(0.999e-4..0.999e9).contains(&size) => {
            let power = (size.log10() + 1e-9).floor() as i32;
            let digit = trimmed(value / 10f64.powi(power));
            let power = superscript(power);
            if digit == "1" { format!("10{power}") } else { format!("{digit}·10{power}") }
        }
        _ if size >= 0.999e6 => format!("{}M", trimmed(value / 1e6)),
        _ if size >= 0.999e4 => format!("{}k", trimmed(value / 1e3)),
        _ => trimmed(value),
    }
}

/// Up to six significant digits, without zeros at the end.
fn trimmed(value: f64) -> String {
    let decimals = (5 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0') } else { &text };
    text.trim_end_matches('.').replace('-', "−")
}

fn superscript(power: i32) -> String {
    let digit = |c: char| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '0' | '4'..='9' => char::from_u32('⁰' as u32 + u32::from(c) - u32::from('0')).unwrap_or(c),
        other => other,
    };
    power.to_string().chars().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        for (value, text) in [
            (0.0, "0"),
            (0.05, "0.05"),
            (-2.5, "−2.5"),
            (0.30000000000000004, "0.3"),
            (200.0, "200"),
            (5000.0, "5000"),
            (20_000.0, "20k"),
            (3e6, "3M"),
            (1e13, "10¹³"),
            (2e14, "2·10¹⁴"),
            (1e-5, "10⁻⁵"),
        ] {
            assert_eq!(written(value), text);
        }
    }

    #[test]
    fn logarithmic_axes_have_a_few_ticks_whatever_they_span() {
        for high in [1.0, 1.5, 4.0, 12.0, 80.0, 900.0, 1e5, 1e9] {
            let axis = Axis::log("", [0.9, high].into_iter()).unwrap();
            assert!((2..=8).contains(&axis.len()), "{high}: {:?}", axis.ticks);
        }
        assert!(Axis::log("", [0.0, -1.0].into_iter()).is_none());
    }

    #[test]
    fn values_stand_in_proportion_and_stay_inside() {
        let axis = Axis::log("", [1.0, 100.0].into_iter()).unwrap();
        let at = |value: f64| axis.map(&value, (0, 10_000));
        assert_eq!(at(10.0), 5_000);
        assert_eq!(at(1.0) + at(100.0), 10_000);
        assert_eq!((at(0.0), at(-3.0), at(1e9)), (0, 0, 10_000));
        let axis = Axis::linear("", [0.0, 1.0].into_iter()).unwrap();
        assert_eq!(axis.map(&0.5, (100, 0)), 50);
        assert_eq!((axis.len(), axis.text(0.4)), (6, "0.4".into()));
    }
}
