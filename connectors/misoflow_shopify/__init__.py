"""Shopify: catalogue, orders, customers and the storefront's clicks of every shop that installs the app.

Guide: docs/connectors/shopify.md. Facts: https://shopify.dev/docs/api
"""

from misoflow_shopify.connector import Shopify

__all__ = ["Shopify"]
