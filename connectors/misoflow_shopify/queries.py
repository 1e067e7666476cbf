"""The texts of our queries; no field in them holds anything personal.

Types: https://shopify.dev/docs/api/admin-graphql/latest. ``__typename`` tells the lines of a bulk file apart.
"""

from __future__ import annotations

PRODUCT_FIELDS = """
__typename id title descriptionHtml vendor productType handle status publishedAt createdAt updatedAt tags onlineStoreUrl
isGiftCard category { fullName } featuredMedia { preview { image { url } } } variantsCount { count }
"""
VARIANT_FIELDS = """
__typename id title sku barcode price compareAtPrice availableForSale createdAt updatedAt image { url }
selectedOptions { name value } inventoryItem { id unitCost { amount } }
"""
COLLECTION_FIELDS = "__typename id handle title"
METAFIELD_FIELDS = "__typename id namespace key type value"
ORDER_FIELDS = """
__typename id createdAt processedAt updatedAt test cancelledAt sourceName cartToken checkoutToken customerLocale
totalPriceSet { shopMoney { amount currencyCode } } customAttributes { key value }
subtotalLineItemsQuantity refunds { id createdAt }
"""
ORDERED_BY = "customer { id }"
"""Of an order, where customers may be read."""
LINE_FIELDS = """
__typename id quantity isGiftCard variant { id } product { id } sellingPlan { name }
discountedTotalSet(withCodeDiscounts: true) { shopMoney { amount } }
"""
CUSTOMER_FIELDS = """
__typename id createdAt updatedAt numberOfOrders amountSpent { amount } defaultAddress { countryCodeV2 provinceCode }
"""
OPERATION_FIELDS = "id status errorCode createdAt objectCount fileSize url partialDataUrl query"

SHOP = """
query Shop {
  shop { myshopifyDomain primaryDomain { host } currencyCode ianaTimezone plan { publicDisplayName } }
}
"""
SCOPES = "query Scopes { currentAppInstallation { accessScopes { handle } } }"


def all_products(metafields: bool) -> str:
    """The bulk query of the catalogue: four connections at most, and one may have five."""
    more = f"metafields {{ edges {{ node {{ {METAFIELD_FIELDS} }} }} }}" if metafields else ""
    return f"""{{ products {{ edges {{ node {{ {PRODUCT_FIELDS}
  collections {{ edges {{ node {{ {COLLECTION_FIELDS} }} }} }} {more}
  variants {{ edges {{ node {{ {VARIANT_FIELDS} }} }} }}
}} }} }} }}"""


def orders_between(start: str, end: str, *, customers: bool) -> str:
    """The bulk query of a window of orders. A range needs the matching sort key, or it times out.

    One field that may not be read fails the whole operation; a single order is answered without it.
    """
    more = ORDERED_BY if customers else ""
    search = f"created_at:>='{start}' AND created_at:<'{end}'"
    return f"""{{ orders(query: "{search}", sortKey: CREATED_AT) {{ edges {{ node {{
  {ORDER_FIELDS} {more} lineItems {{ edges {{ node {{ {LINE_FIELDS} }} }} }}
}} }} }} }}"""


def customers_between(start: str, end: str) -> str:
    """The bulk query of the customers last changed in a window."""
    search = f"updated_at:>='{start}' AND updated_at:<'{end}'"
    return f"""{{ customers(query: "{search}", sortKey: UPDATED_AT) {{ edges {{ node {{
  {CUSTOMER_FIELDS}
}} }} }} }}"""


PRODUCT = f"""
query Product($id: ID!, $first: Int!) {{
  product(id: $id) {{
    {PRODUCT_FIELDS}
    variants(first: $first) {{ nodes {{ {VARIANT_FIELDS} }} pageInfo {{ hasNextPage endCursor }} }}
    collections(first: $first) {{ nodes {{ {COLLECTION_FIELDS} }} pageInfo {{ hasNextPage endCursor }} }}
  }}
}}
"""
PRODUCT_VARIANTS = f"""
query ProductVariants($id: ID!, $first: Int!, $after: String) {{
  product(id: $id) {{
    variants(first: $first, after: $after) {{ nodes {{ {VARIANT_FIELDS} }} pageInfo {{ hasNextPage endCursor }} }}
  }}
}}
"""
PRODUCT_COLLECTIONS = f"""
query ProductCollections($id: ID!, $first: Int!, $after: String) {{
  product(id: $id) {{
    collections(first: $first, after: $after) {{ nodes {{ {COLLECTION_FIELDS} }} pageInfo {{ hasNextPage endCursor }} }}
  }}
}}
"""
PRODUCT_METAFIELDS = f"""
query ProductMetafields($id: ID!, $first: Int!, $after: String) {{
  product(id: $id) {{
    metafields(first: $first, after: $after) {{ nodes {{ {METAFIELD_FIELDS} }} pageInfo {{ hasNextPage endCursor }} }}
  }}
}}
"""
ORDER = f"""
query Order($id: ID!, $first: Int!) {{
  order(id: $id) {{
    {ORDER_FIELDS} {ORDERED_BY}
    lineItems(first: $first) {{ nodes {{ {LINE_FIELDS} }} pageInfo {{ hasNextPage endCursor }} }}
  }}
}}
"""
ORDER_LINES = f"""
query OrderLines($id: ID!, $first: Int!, $after: String) {{
  order(id: $id) {{
    lineItems(first: $first, after: $after) {{ nodes {{ {LINE_FIELDS} }} pageInfo {{ hasNextPage endCursor }} }}
  }}
}}
"""
REFUNDS = """
query Refunds($id: ID!, $first: Int!) {
  order(id: $id) {
    refunds {
      id createdAt
      refundLineItems(first: $first) { nodes { quantity lineItem { id } } pageInfo { hasNextPage endCursor } }
    }
  }
}
"""
REFUND_LINES = """
query RefundLines($id: ID!, $first: Int!, $after: String) {
  node(id: $id) {
    ... on Refund {
      refundLineItems(first: $first, after: $after) {
        nodes { quantity lineItem { id } } pageInfo { hasNextPage endCursor }
      }
    }
  }
}
"""
INVENTORY_ITEM = """
query InventoryItem($id: ID!) { inventoryItem(id: $id) { variants(first: 1) { nodes { product { id } } } } }
"""
COLLECTION = f"query Collection($id: ID!) {{ collection(id: $id) {{ {COLLECTION_FIELDS} }} }}"
COLLECTIONS = f"""
query Collections($first: Int!, $after: String) {{
  collections(first: $first, after: $after) {{ nodes {{ {COLLECTION_FIELDS} }} pageInfo {{ hasNextPage endCursor }} }}
}}
"""
CHANGED_PRODUCTS = """
query ChangedProducts($first: Int!, $after: String, $query: String!) {
  products(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {
    nodes { id } pageInfo { hasNextPage endCursor }
  }
}
"""
CHANGED_ORDERS = """
query ChangedOrders($first: Int!, $after: String, $query: String!) {
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {
    nodes { id } pageInfo { hasNextPage endCursor }
  }
}
"""
CHANGED_CUSTOMERS = f"""
query ChangedCustomers($first: Int!, $after: String, $query: String!) {{
  customers(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {{
    nodes {{ {CUSTOMER_FIELDS} }} pageInfo {{ hasNextPage endCursor }}
  }}
}}
"""
START = """
mutation Start($query: String!) {
  bulkOperationRunQuery(query: $query, groupObjects: false) {
    bulkOperation { id status createdAt } userErrors { code field message }
  }
}
"""
CANCEL = """
mutation Cancel($id: ID!) { bulkOperationCancel(id: $id) { bulkOperation { id } userErrors { field message } } }
"""
OPERATION = f"query Operation($id: ID!) {{ bulkOperation(id: $id) {{ {OPERATION_FIELDS} }} }}"
OPERATIONS = f"""
query Operations($query: String!) {{
  bulkOperations(first: 50, query: $query) {{ nodes {{ {OPERATION_FIELDS} }} }}
}}
"""
PIXEL = "query Pixel { webPixel { id settings } }"
CREATE_PIXEL = """
mutation CreatePixel($settings: JSON!) {
  webPixelCreate(webPixel: { settings: $settings }) { webPixel { id } userErrors { code field message } }
}
"""
UPDATE_PIXEL = """
mutation UpdatePixel($id: ID!, $settings: JSON!) {
  webPixelUpdate(id: $id, webPixel: { settings: $settings }) { webPixel { id } userErrors { code field message } }
}
"""
SUBSCRIPTIONS = """
query Subscriptions($first: Int!, $after: String) {
  webhookSubscriptions(first: $first, after: $after) {
    nodes { id topic uri } pageInfo { hasNextPage endCursor }
  }
}
"""
SUBSCRIBE = """
mutation Subscribe($topic: WebhookSubscriptionTopic!, $uri: String!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: { uri: $uri, format: JSON }) {
    webhookSubscription { id } userErrors { field message }
  }
}
"""
UNSUBSCRIBE = """
mutation Unsubscribe($id: ID!) {
  webhookSubscriptionDelete(id: $id) { deletedWebhookSubscriptionId userErrors { field message } }
}
"""
