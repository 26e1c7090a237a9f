//! What it costs, and when it pays.

use crate::error::{MeasureError, check_not_negative, check_positive};
use serde::{Deserialize, Serialize};

/// Joules of a kilowatt-hour.
const JOULES_PER_KILOWATT_HOUR: f64 = 3.6e6;

/// Seconds of an hour.
const SECONDS_PER_HOUR: f64 = 3600.0;

/// Prices, in whatever currency the caller names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Prices {
    /// The currency, for reports.
    pub currency: String,
    /// Of the machine per hour; 0 where it is paid for anyway.
    pub machine_per_hour: f64,
    /// Of electricity per kilowatt-hour; `None` where it is in the price of the machine.
    pub energy_per_kilowatt_hour: Option<f64>,
}

impl Default for Prices {
    /// A machine for one dollar an hour, electricity included: the results are then in units of the price per hour.
    fn default() -> Self {
        Self { currency: "USD".into(), machine_per_hour: 1.0, energy_per_kilowatt_hour: None }
    }
}

/// What a million tokens cost, in the currency of the prices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cost {
    /// The currency.
    pub currency: String,
    /// Machine and electricity together; `None` where electricity is to be paid for and nobody knows how much was used: part of a
    /// price is not a price.
    pub per_million_tokens: Option<f64>,
    /// For the machine.
    pub machine_per_million_tokens: f64,
    /// For electricity, where it has a price and was measured.
    pub energy_per_million_tokens: Option<f64>,
}

impl Prices {
    /// Gives the cost of a million tokens: `10⁶ · price per hour ÷ (3600 · tokens per second)`, and
    /// `10⁶ · joules per token ÷ 3.6·10⁶ · price per kWh`.
    ///
    /// It is that of a machine that is always busy. One that is idle half of the time costs twice as much per token.
    ///
    /// ```
    /// use tenuis_measure::Prices;
    /// let mut prices = Prices::default();
    /// prices.machine_per_hour = 0.36;
    /// assert_eq!(prices.cost(100.0, None)?.per_million_tokens, Some(1.0));
    /// # Ok::<(), tenuis_measure::MeasureError>(())
    /// ```
    ///
    /// # Errors
    /// [`MeasureError::Config`] where a price or the energy is negative or not finite, the speed is not finite and above 0, or the
    /// result is not finite.
    pub fn cost(&self, tokens_per_second: f64, joules_per_token: Option<f64>) -> Result<Cost, MeasureError> {
        check_positive("tokens_per_second", tokens_per_second)?;
        check_not_negative("machine_per_hour", self.machine_per_hour)?;
        let machine_per_million_tokens = 1e6 * self.machine_per_hour / SECONDS_PER_HOUR / tokens_per_second;
        check_not_negative("the cost of a million tokens", machine_per_million_tokens)?;
        let each = joules_per_token.map(|joules| self.energy(1e6 * joules)).transpose()?.flatten();
        let electricity = match (self.energy_per_kilowatt_hour, each) {
            (None, _) => Some(0.0),
            (Some(_), each) => each,
        };
        Ok(Cost {
            currency: self.currency.clone(),
            per_million_tokens: electricity.map(|electricity| machine_per_million_tokens + electricity),
            machine_per_million_tokens,
            energy_per_million_tokens: each,
        })
    }

    /// Gives the price of some joules; `None` where electricity has none.
    ///
    /// ```
    /// use tenuis_measure::Prices;
    /// let mut prices = Prices::default();
    /// prices.energy_per_kilowatt_hour = Some(0.3);
    /// assert_eq!(prices.energy(7.2e6)?, Some(0.6));
    /// # Ok::<(), tenuis_measure::MeasureError>(())
    /// ```
    ///
    /// # Errors
    /// [`MeasureError::Config`] where price or joules are negative or not finite.
    pub fn energy(&self, joules: f64) -> Result<Option<f64>, MeasureError> {
        check_not_negative("joules", joules)?;
        let Some(price) = self.energy_per_kilowatt_hour else { return Ok(None) };
        check_not_negative("energy_per_kilowatt_hour", price)?;
        let cost = joules / JOULES_PER_KILOWATT_HOUR * price;
        check_not_negative("the cost of energy", cost)?;
        Ok(Some(cost))
    }
}

/// After how much use a one-off cost is recovered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "payback", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Payback {
    /// After so many units.
    After {
        /// Units of use, such as millions of tokens.
        units: f64,
    },
    /// Never: a unit costs as much as before, or more.
    Never,
}

impl Payback {
    /// Divides what compression cost once by what each unit saves: `one-off ÷ (before − after)`.
    ///
    /// ```
    /// use tenuis_measure::Payback;
    /// // 30 for the compression; a million tokens cost 2.0 before and 0.5 after.
    /// assert_eq!(Payback::of(30.0, 2.0, 0.5)?, Payback::After { units: 20.0 });
    /// assert_eq!(Payback::of(30.0, 0.5, 0.5)?, Payback::Never);
    /// # Ok::<(), tenuis_measure::MeasureError>(())
    /// ```
    ///
    /// # Errors
    /// [`MeasureError::Config`] where a cost is negative or not finite.
    pub fn of(one_off: f64, unit_before: f64, unit_after: f64) -> Result<Self, MeasureError> {
        check_not_negative("the one-off cost", one_off)?;
        check_not_negative("the cost of a unit before", unit_before)?;
        check_not_negative("the cost of a unit after", unit_after)?;
        let units = one_off / (unit_before - unit_after);
        // A saving so small that the division overflows is none.
        Ok(if unit_before > unit_after && units.is_finite() { Self::After { units } } else { Self::Never })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn electricity_without_a_measurement_leaves_the_total_undecided() {
        let prices =
            Prices { energy_per_kilowatt_hour: Some(0.36), machine_per_hour: 3.6, ..Prices::default() };
        let unknown = prices.cost(1000.0, None).unwrap();
        assert_eq!((unknown.per_million_tokens, unknown.machine_per_million_tokens), (None, 1.0));
        // 2 J a token are 2 MJ a million, 0.5556 kWh.
        let known = prices.cost(1000.0, Some(2.0)).unwrap();
        assert!((known.energy_per_million_tokens.unwrap() - 0.2).abs() < 1e-12);
        assert!((known.per_million_tokens.unwrap() - 1.2).abs() < 1e-12);
        let included = Prices { energy_per_kilowatt_hour: None, ..prices };
        let cost = included.cost(1000.0, Some(2.0)).unwrap();
        assert_eq!((cost.per_million_tokens, cost.energy_per_million_tokens), (Some(1.0), None));
    }

    #[test]
    fn nothing_is_ever_infinite() {
        let prices = Prices::default();
        for speed in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE / 1e10] {
            assert!(matches!(prices.cost(speed, None), Err(MeasureError::Config { .. })), "{speed}");
        }
        let bad = Prices { machine_per_hour: -1.0, ..Prices::default() };
        assert!(bad.cost(1.0, None).is_err());
        let dear = Prices { energy_per_kilowatt_hour: Some(f64::MAX), ..Prices::default() };
        assert!(dear.energy(1e10).is_err());
        assert!(dear.energy(-1.0).is_err());
    }

    #[test]
    fn what_saves_nothing_never_pays() {
        assert_eq!(Payback::of(0.0, 1.0, 0.5).unwrap(), Payback::After { units: 0.0 });
        assert_eq!(Payback::of(1.0, 1.0, 2.0).unwrap(), Payback::Never);
        assert_eq!(Payback::of(0.0, 1.0, 1.0).unwrap(), Payback::Never);
        assert_eq!(Payback::of(f64::MAX, 1e-300, 0.0).unwrap(), Payback::Never);
        assert!(Payback::of(f64::NAN, 1.0, 0.5).is_err());
        let text = serde_json::to_string(&Payback::Never).unwrap();
        assert_eq!(text, r#"{"payback":"never"}"#);
    }
}
