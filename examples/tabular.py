"""A table: a CSV with text and empty fields, preprocessed by scikit-learn, a small network.

mbbench run examples/tabular.py:problem --batch-size 8,32,full --quick
"""

from pathlib import Path

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import mbbench

houses = pd.read_csv(Path(__file__).with_name("houses.csv"))
numbers, texts = ["area_m2", "rooms", "built"], ["place"]
prepare = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), numbers), (OneHotEncoder(sparse_output=False), texts)
)

problem = mbbench.Problem(
    model=lambda: nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1)),
    loss=nn.functional.mse_loss,
    data=(prepare.fit_transform(houses), houses[["price"]] / houses["price"].mean()),
    lr=0.05,
)
