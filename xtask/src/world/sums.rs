//! Sums worked in small steps, and which sums are kept for the evaluation.

use super::draw::{Draw, mix};

/// No operand and no result is greater.
pub(super) const LARGEST: u32 = 100;

/// The longest count of a multiplication or division.
const LONGEST_COUNT: u32 = 12;

/// The greatest step that is counted in.
const LARGEST_STEP: u32 = 25;

/// A problem with its operands in the order in which they are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sum {
    /// `a + b`
    Add([u32; 2]),
    /// `a - b`
    Subtract([u32; 2]),
    /// `a * b`: `b` times `a`
    Multiply([u32; 2]),
    /// `a / b`, without remainder
    Divide([u32; 2]),
    /// `a + b - c`
    AddSubtract([u32; 3]),
    /// `a - b + c`
    SubtractAdd([u32; 3]),
}

/// Which kind of sum to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    AddSubtract,
    SubtractAdd,
}

/// What a sum is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The training text: no reserved operands.
    Training,
    /// The evaluation: reserved operands only.
    Evaluation,
}

/// Whether these operands, in any order, are kept for the evaluation: about one tuple in ten, whatever the operation.
pub(super) fn reserved(operands: &[u32]) -> bool {
    let mut sorted = operands.to_vec();
    sorted.sort_unstable();
    let hash = sorted.iter().fold(sorted.len() as u64, |hash, &operand| mix(hash ^ u64::from(operand)));
    hash.is_multiple_of(10) && sorted.iter().all(|&operand| operand >= 2)
}

/// Whether a sum or difference of the two is a small fact, used as a step of many worked answers.
pub(super) fn elementary(a: u32, b: u32) -> bool {
    let (high, low) = (a.max(b), a.min(b));
    small_addition(high, low) || small_subtraction(high, low)
}

/// Both have one digit, or one is whole tens and the other at most 18 or whole tens too.
fn small_addition(a: u32, b: u32) -> bool {
    let (high, low) = (a.max(b), a.min(b));
    let tens = |n: u32| n.is_multiple_of(10);
    high < 10 || (tens(high) && (low <= 18 || tens(low))) || (tens(low) && high <= 18)
}

/// A digit is taken from at most 18 and leaves a digit, or whole tens from whole tens.
fn small_subtraction(a: u32, b: u32) -> bool {
    (a <= 18 && b < 10 && a - b < 10) || (a.is_multiple_of(10) && b.is_multiple_of(10))
}

impl Sum {
    /// The operands, in order.
    pub(super) fn operands(&self) -> &[u32] {
        match self {
            Self::Add(pair) | Self::Subtract(pair) | Self::Multiply(pair) | Self::Divide(pair) => pair,
            Self::AddSubtract(three) | Self::SubtractAdd(three) => three,
        }
    }

    /// The result.
    pub(super) fn result(&self) -> u32 {
        match *self {
            Self::Add([a, b]) => a + b,
            Self::Subtract([a, b]) => a - b,
            Self::Multiply([a, b]) => a * b,
            Self::Divide([a, b]) => a / b,
            Self::AddSubtract([a, b, c]) => a + b - c,
            Self::SubtractAdd([a, b, c]) => a - b + c,
        }
    }

    /// The way to the result, step by step, and `#### result`.
    pub(super) fn worked(&self) -> String {
        let steps = match *self {
            Self::Add([a, b]) => addition(a, b),
            Self::Subtract([a, b]) => subtraction(a, b),
            Self::Multiply([a, b]) => format!("{a} * {b}: {}", count(a, b)),
            Self::Divide([a, b]) => format!("{a} / {b}: {}", count(b, a / b)),
            Self::AddSubtract([a, b, c]) => format!("{}. {}", addition(a, b), subtraction(a + b, c)),
            Self::SubtractAdd([a, b, c]) => format!("{}. {}", subtraction(a, b), addition(a - b, c)),
        };
        format!("{steps}. #### {}", self.result())
    }

    /// Draws a sum of the given kind for the given side.
    pub(super) fn draw(operation: Operation, side: Side, draw: &mut Draw) -> Self {
        loop {
            let sum = Self::any(operation, draw);
            if sum.is_for(side) {
                return sum;
            }
        }
    }

    fn any(operation: Operation, draw: &mut Draw) -> Self {
        match operation {
            Operation::Add => {
                let total = draw.between(5, LARGEST);
                let a = draw.between(2, total - 2);
                Self::Add([a, total - a])
            }
            Operation::Subtract => {
                let a = draw.between(5, LARGEST);
                Self::Subtract([a, draw.between(2, a)])
            }
            Operation::Multiply => {
                let a = draw.between(2, LARGEST_STEP);
                Self::Multiply([a, draw.between(2, LONGEST_COUNT.min(LARGEST / a))])
            }
            Operation::Divide => {
                let b = draw.between(2, LONGEST_COUNT);
                Self::Divide([b * draw.between(2, LONGEST_COUNT.min(LARGEST / b)), b])
            }
            Operation::AddSubtract => {
                let total = draw.between(8, LARGEST);
                let a = draw.between(2, total - 2);
                Self::AddSubtract([a, total - a, draw.between(2, total)])
            }
            Operation::SubtractAdd => {
                let a = draw.between(6, LARGEST);
                let b = draw.between(2, a - 2);
                Self::SubtractAdd([a, b, draw.between(2, LARGEST - (a - b))])
            }
        }
    }

    fn is_for(&self, side: Side) -> bool {
        let counted = matches!(self, Self::Multiply(_) | Self::Divide(_));
        let parts = match *self {
            Self::AddSubtract([a, b, c]) => [(a, b), (a + b, c)],
            Self::SubtractAdd([a, b, c]) => [(a, b), (a - b, c)],
            _ => [(0, 0); 2],
        };
        match side {
            // The parts of a sum in two steps are worked like sums of their own.
            Side::Training => {
                let open = |&(a, b): &(u32, u32)| elementary(a, b) || !reserved(&[a, b]);
                !reserved(self.operands()) && parts.iter().all(open)
            }
            // A small fact is no question: its answer is a step of many worked answers.
            Side::Evaluation => {
                let small = matches!(*self, Self::Add([a, b]) | Self::Subtract([a, b]) if elementary(a, b));
                reserved(self.operands()) && (counted || !small)
            }
        }
    }
}

/// Lines of plain sums. Single digits may be anything; other operands are those of the training side.
pub(super) fn drills(draw: &mut Draw) -> String {
    let lines: Vec<String> = (0..draw.between(6, 12)).map(|_| drill(draw)).collect();
    lines.join("\n") + "\n"
}

fn drill(draw: &mut Draw) -> String {
    match draw.weighted(&[30, 15, 15, 15, 8, 7, 10]) {
        0 => {
            let (a, b) = (draw.between(0, 9), draw.between(0, 9));
            if draw.chance(50) {
                format!("{a} + {b} = {}.", a + b)
            } else {
                format!("{} - {b} = {a}.", a + b)
            }
        }
        1 => {
            // The last step of a worked sum.
            let (tens, ones) = (10 * draw.between(1, 8), draw.between(0, 18));
            format!("{tens} + {ones} = {}.", tens + ones)
        }
        2 => Sum::draw(Operation::Add, Side::Training, draw).worked(),
        3 => Sum::draw(Operation::Subtract, Side::Training, draw).worked(),
        4 => Sum::draw(Operation::Multiply, Side::Training, draw).worked(),
        5 => Sum::draw(Operation::Divide, Side::Training, draw).worked(),
        _ => {
            let step = draw.between(2, LARGEST_STEP);
            let steps = count(step, LONGEST_COUNT.min(LARGEST / step));
            format!("Counting in steps of {step}: {steps}.")
        }
    }
}

/// `14 + 29: 4 + 9 = 13, 10 + 20 = 30, 30 + 13 = 43`: the ones, the tens, then both.
fn addition(a: u32, b: u32) -> String {
    if small_addition(a, b) {
        return format!("{a} + {b} = {}", a + b);
    }
    let ones = a % 10 + b % 10;
    let tens = a - a % 10 + b - b % 10;
    let both = a >= 10 && b >= 10;
    let middle = if both { format!(" {} + {} = {tens},", a - a % 10, b - b % 10) } else { String::new() };
    format!("{a} + {b}: {} + {} = {ones},{middle} {tens} + {ones} = {}", a % 10, b % 10, a + b)
}

/// `52 - 17: 12 - 7 = 5, 40 - 10 = 30, 30 + 5 = 35`: a ten is moved to the ones first where they are too few.
fn subtraction(a: u32, b: u32) -> String {
    if small_subtraction(a, b) {
        return format!("{a} - {b} = {}", a - b);
    }
    let ones = if a % 10 < b % 10 { a % 10 + 10 } else { a % 10 };
    let (tens, less) = (a - ones, b - b % 10);
    let (left, rest) = (ones - b % 10, tens - less);
    let middle = if less > 0 { format!(" {tens} - {less} = {rest},") } else { String::new() };
    format!("{a} - {b}: {ones} - {} = {left},{middle} {rest} + {left} = {}", b % 10, a - b)
}

/// `6 (1), 12 (2), 18 (3)`: the multiples of a step with how many they are.
fn count(step: u32, times: u32) -> String {
    let multiples: Vec<String> = (1..=times).map(|nth| format!("{} ({nth})", step * nth)).collect();
    multiples.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_small() {
        assert_eq!(Sum::Add([14, 29]).worked(), "14 + 29: 4 + 9 = 13, 10 + 20 = 30, 30 + 13 = 43. #### 43");
        assert_eq!(Sum::Add([5, 14]).worked(), "5 + 14: 5 + 4 = 9, 10 + 9 = 19. #### 19");
        assert_eq!(
            Sum::Subtract([52, 17]).worked(),
            "52 - 17: 12 - 7 = 5, 40 - 10 = 30, 30 + 5 = 35. #### 35"
        );
        assert_eq!(Sum::Subtract([100, 4]).worked(), "100 - 4: 10 - 4 = 6, 90 + 6 = 96. #### 96");
        assert_eq!(Sum::Multiply([6, 3]).worked(), "6 * 3: 6 (1), 12 (2), 18 (3). #### 18");
        assert_eq!(Sum::Divide([18, 6]).worked(), "18 / 6: 6 (1), 12 (2), 18 (3). #### 3");
        let two = Sum::AddSubtract([3, 4, 2]).worked();
        assert_eq!(two, "3 + 4 = 7. 7 - 2 = 5. #### 5");
    }

    #[test]
    fn every_step_of_a_worked_sum_is_elementary() {
        for a in 0..=LARGEST {
            for b in 0..=LARGEST {
                let mut steps = vec![];
                if a + b <= LARGEST {
                    steps.push(addition(a, b));
                }
                if b <= a {
                    steps.push(subtraction(a, b));
                }
                for step in steps.iter().flat_map(|steps| steps.split(", ")) {
                    let step = step.split_once(": ").map_or(step, |(_, step)| step);
                    let words: Vec<&str> = step.split(' ').collect();
                    let number = |at: usize| words[at].parse::<u32>().unwrap();
                    assert!(elementary(number(0), number(2)), "{step} in {steps:?}");
                }
            }
        }
    }

    #[test]
    fn about_a_tenth_is_reserved_in_any_order() {
        let pairs = (2..=60).flat_map(|a| (a..=60).map(move |b| [a, b]));
        let all = pairs.clone().count();
        let kept = pairs.filter(|pair| reserved(pair)).count();
        assert!((all / 12..=all / 8).contains(&kept), "{kept} of {all}");
        assert_eq!(reserved(&[3, 17, 40]), reserved(&[40, 3, 17]));
        assert!(!reserved(&[1, 50]));
    }
}
