"""The code of an exported MLflow model: MLflow copies this file into it, and runs it to load the model."""

from mlflow.models import set_model

from studies.serving import ServedModel

set_model(ServedModel())
