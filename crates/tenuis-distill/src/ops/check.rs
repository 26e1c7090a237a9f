//! Holding a backward pass against finite differences.

use candle_core::{Device, Result, Tensor, Var};

/// Central differences with this step are off by about `step²` (the third derivative) and `2⁻²⁴/step` (rounding of f32);
/// they balance near here.
const STEP: f32 = 4e-3;
/// Both errors of the differences for functions of magnitude one, and the rounding of sums of some hundred terms.
const TOLERANCE: f32 = 4e-3;

/// Values of both signs, of magnitude one, none near zero (where a relu has no derivative).
pub(crate) fn input(shape: &[usize], seed: usize) -> Tensor {
    let count: usize = shape.iter().product();
    let value = |i: usize| {
        let v = ((i * 7 + seed * 13 + 3) as f32 * 0.61).sin();
        v + 0.05 * v.signum()
    };
    Tensor::from_vec((0..count).map(value).collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
}

/// Checks every gradient of `Σ wᵢ yᵢ`, with weights that tell the outputs apart.
pub(crate) fn gradients(inputs: &[Tensor], run: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let loss = |inputs: &[Tensor]| {
        let y = run(inputs).unwrap();
        let weights = input(y.dims(), 5).contiguous().unwrap();
        (y * weights).unwrap().sum_all().unwrap()
    };
    let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let tracked: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let store = loss(&tracked).backward().unwrap();
    for (which, (var, start)) in vars.iter().zip(inputs).enumerate() {
        let grad = store.get(var).expect("every input has a gradient");
        assert_eq!(grad.dims(), start.dims());
        let grad: Vec<f32> = grad.flatten_all().unwrap().to_vec1().unwrap();
        let values: Vec<f32> = start.flatten_all().unwrap().to_vec1().unwrap();
        let at = |i: usize, step: f32| {
            let mut moved = values.clone();
            moved[i] += step;
            let mut all = inputs.to_vec();
            all[which] = Tensor::from_vec(moved, start.shape(), &Device::Cpu).unwrap();
            loss(&all).to_scalar::<f32>().unwrap()
        };
        let largest = grad.iter().fold(1.0f32, |a, b| a.max(b.abs()));
        for (i, &g) in grad.iter().enumerate() {
            let difference = (at(i, STEP) - at(i, -STEP)) / (2.0 * STEP);
            assert!(
                (difference - g).abs() < TOLERANCE * largest,
                "input {which}, element {i}: gradient {g}, difference {difference}"
            );
        }
    }
}
