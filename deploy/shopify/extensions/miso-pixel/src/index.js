// What shoppers do in the storefront and the checkout, sent to misoflow: one event a request.
// Runs in Shopify's strict sandbox, a web worker without a page: https://shopify.dev/docs/api/web-pixels-api
// Every field is picked by name. Names, e-mails, phones, addresses and prices are never read.
import {register} from '@shopify/web-pixels-extension';

/** @typedef {import('@shopify/web-pixels-extension').Events} Events */
/** @typedef {import('@shopify/web-pixels-extension').ProductVariant} Variant */
/** @typedef {import('@shopify/web-pixels-extension').CartLine} CartLine */
/** @typedef {import('@shopify/web-pixels-extension').Checkout} Checkout */
/** @typedef {import('@shopify/web-pixels-extension').Context} Context */
/** @typedef {import('@shopify/web-pixels-extension').CustomerPrivacyPayload['customerPrivacy']} Privacy */
/**
 * @typedef {'page_viewed' | 'product_viewed' | 'collection_viewed' | 'search_submitted' | 'cart_viewed'
 *   | 'product_added_to_cart' | 'product_removed_from_cart' | 'checkout_started' | 'checkout_contact_info_submitted'
 *   | 'checkout_address_info_submitted' | 'checkout_shipping_info_submitted' | 'payment_info_submitted'
 *   | 'checkout_completed' | 'miso:impression' | 'miso:click'} Name
 */

const MAX_ITEMS = 50;
const MAX_HELD = 50; // events that wait for consent, or for another try, in memory only
const MAX_QUERY = 1500;
const TRIES = 3;
const PAUSE = 5000; // ms

const QUERY = /^(?:utm_[a-z_]{1,30}|q|variant|filter\.[\w.-]{1,80})$/;
// Paths whose rest opens somebody's checkout, order, account, gift card or cart, behind a language or a shop's number.
const PRIVATE =
  /^(?:\/(?!(?:products|collections|pages|blogs)\/)[\w-]+)?\/(checkouts(?:\/[a-z]{1,8}(?=\/.))?|orders|account|gift_cards|cart|apps|wallets|\w*authentication)(\/.+)?$/;

/** The last part of an id (a number, a text, a path, a gid://), without the query: a cart's holds a secret.
 * @param {unknown} value */
const last = (value) => {
  const whole = typeof value === 'string' || Number.isSafeInteger(value) ? String(value) : '';
  return whole.replace(/(?:\?|%3f).*$/is, '').replace(/^.*\//s, '');
};

/** @param {unknown} value */
const id = (value) => (/^\d{1,20}$/.test(last(value)) ? last(value) : null);

/** @param {unknown} value */
const token = (value) => (/^[\w-]{1,128}$/.test(last(value)) ? last(value) : null);

/** @param {unknown} value @param {number} most */
const text = (value, most) =>
  typeof value === 'string' ? value.slice(0, most).replace(/[\p{Cc}\p{Cs}]/gu, ' ') || null : null;

/** Free text without its e-mail addresses. @param {unknown} value @param {number} most */
const words = (value, most) =>
  (text(value, 4 * most) ?? '').split(/\s+/).filter((word) => !word.includes('@')).join(' ').slice(0, most).trim() || null;

/** @param {string} path */
const cutPath = (path) => {
  const secret = PRIVATE.exec(path);
  if (secret) return `/${secret[1]}${secret[2] ? '/:token' : ''}`;
  const parts = path.split('/').map((part) => (/@|%40/i.test(part) ? ':hidden' : part));
  return parts.join('/').slice(0, 500).replace(/%.?$/, '');
};

/** @param {URLSearchParams} all */
const cutQuery = (all) => {
  const kept = new URLSearchParams();
  for (const [name, value] of all) {
    const clean = QUERY.test(name) && words(value, 200);
    if (!clean) continue;
    kept.append(name, clean);
    if (String(kept).length > MAX_QUERY) {
      kept.delete(name);
      break;
    }
  }
  return String(kept) && `?${kept}`;
};

/** @param {unknown} value */
const parse = (value) => {
  try {
    const url = new URL(String(value).slice(0, 8000).replace(/^\/\//, 'https://'));
    return /^https?:$/.test(url.protocol) ? url : null;
  } catch {
    return null;
  }
};

/** Where the event happened; of a page of another site only the site. @param {Context} context */
const page = (context) => {
  const url = parse(context?.document?.location?.href ?? context?.window?.location?.href);
  const from = parse(context?.document?.referrer);
  const ours = from?.host === url?.host;
  return {
    url: url && url.origin + cutPath(url.pathname) + cutQuery(url.searchParams),
    referrer: from && from.origin + (ours ? cutPath(from.pathname) + cutQuery(from.searchParams) : '/'),
    title: url && PRIVATE.test(url.pathname) ? null : words(context?.document?.title, 300),
  };
};

/** @param {Variant | null | undefined} variant */
const item = (variant) => ({variant: id(variant?.id), product: id(variant?.product?.id)});

/** @param {unknown} list @param {(one: any) => {variant: string | null, product: string | null}} pick */
const items = (list, pick) =>
  (Array.isArray(list) ? list : []).slice(0, MAX_ITEMS).map(pick).filter((one) => one.variant || one.product);

/** @param {Variant | null | undefined} variant @param {unknown} quantity */
const line = (variant, quantity) => {
  const one = item(variant);
  const count = Number.isSafeInteger(quantity) && Number(quantity) > 0 ? Number(quantity) : null;
  return one.variant || one.product ? {...one, quantity: count} : null;
};

/** @param {{data: {cartLine: CartLine | null}}} event */
const cartLine = ({data}) => line(data?.cartLine?.merchandise, data?.cartLine?.quantity);

/** The tokens by which an order finds its shopper. @param {{data: {checkout: Checkout}, context: Context}} event */
const checkout = ({data, context}) => {
  const it = data?.checkout;
  const path = parse(context?.document?.location?.href)?.pathname ?? '';
  return {
    checkout: token(it?.token),
    cart: token(/\/checkouts\/cn\/([^/]+)/.exec(path)?.[1]),
    order: id(it?.order?.id),
    customer: id(it?.order?.customer?.id),
  };
};

/** Of a custom event {items: [{variant, product}], miso_id}. @param {Events['miso:click']} event */
const custom = ({customData}) => ({
  items: items(customData?.items, (one) => ({variant: id(one?.variant), product: id(one?.product)})),
  miso_id: token(customData?.miso_id),
});

/** What is kept of each event's data. @type {{[K in Name]: (event: Events[K]) => object | null}} */
const READ = {
  page_viewed: () => ({}),
  product_viewed: ({data}) => line(data?.productVariant, null),
  collection_viewed: ({data}) => ({
    collection: id(data?.collection?.id),
    title: words(data?.collection?.title, 300),
    items: items(data?.collection?.productVariants, item),
  }),
  search_submitted: ({data}) => ({
    query: words(data?.searchResult?.query, 300),
    items: items(data?.searchResult?.productVariants, item),
  }),
  cart_viewed: ({data}) => ({cart: token(data?.cart?.id)}),
  product_added_to_cart: cartLine,
  product_removed_from_cart: cartLine,
  checkout_started: checkout,
  checkout_contact_info_submitted: checkout,
  checkout_address_info_submitted: checkout,
  checkout_shipping_info_submitted: checkout,
  payment_info_submitted: checkout,
  checkout_completed: checkout,
  'miso:impression': custom,
  'miso:click': custom,
};

/** @param {Privacy | null | undefined} privacy */
const consentOf = (privacy) => ({
  analytics: privacy?.analyticsProcessingAllowed === true,
  marketing: privacy?.marketingAllowed === true,
  preferences: privacy?.preferencesProcessingAllowed === true,
  sale: privacy?.saleOfDataAllowed === true,
});

/** Posts as text/plain, which needs no preflight; tries again a little later what was lost. @param {string} url */
const sender = (url) => {
  let waiting = 0;
  /** @param {string} body @param {number} [tries] */
  const post = async (body, tries = 1) => {
    let status = 0;
    try {
      // What is tried again is not kept alive: the 64 KiB for that are shared by all requests of the page.
      const answer = await fetch(url, {method: 'POST', body, keepalive: tries === 1, credentials: 'omit'});
      status = answer.status;
    } catch {
      // Offline or blocked: a pixel has nobody to tell.
    }
    if ((status && status !== 429 && status < 500) || tries === TRIES || waiting === MAX_HELD) return;
    waiting += 1;
    setTimeout(() => {
      waiting -= 1;
      post(body, tries + 1);
    }, PAUSE * tries);
  };
  return post;
};

register(({analytics, init, settings, customerPrivacy}) => {
  const {accountID, endpoint} = settings ?? {};
  if (!accountID || !endpoint) return;
  const post = sender(`${String(endpoint).replace(/\/+$/, '')}/pixel/${accountID}`);
  const customer = id(init?.data?.customer?.id);
  let consent = consentOf(init?.customerPrivacy);
  let refused = false;
  /** @type {Map<string, object>} */
  const held = new Map();
  const sent = new Set(); // Shopify replays a page's events after consent: https://shopify.dev/docs/api/web-pixels-api/pixel-privacy

  /** @param {string} key @param {object} event */
  const deliver = (key, event) => {
    if (consent.analytics && !sent.has(key)) {
      sent.add(key);
      post(JSON.stringify({v: 1, consent, event}));
    } else if (!consent.analytics && !refused && held.size < MAX_HELD) {
      held.set(key, event);
    }
  };

  /** @template {Name} K @param {K} name */
  const listen = (name) =>
    analytics.subscribe(name, (event) => {
      const key = text(event?.id, 128);
      const clientId = text(event?.clientId, 128);
      if (!key || !clientId) return;
      const context = event.context ?? init?.context;
      deliver(key, {
        id: key,
        name,
        clientId,
        seq: Number.isSafeInteger(event.seq) ? event.seq : null,
        timestamp: text(event.timestamp, 40),
        customer,
        page: page(context),
        locale: text(context?.navigator?.language, 35),
        userAgent: text(context?.navigator?.userAgent, 500),
        data: READ[name](event),
      });
    });
  /** @type {Name[]} */ (Object.keys(READ)).forEach(listen);

  customerPrivacy?.subscribe('visitorConsentCollected', (event) => {
    consent = consentOf(event?.customerPrivacy);
    refused = !consent.analytics;
    const events = [...held];
    held.clear();
    for (const [key, one] of events) deliver(key, one);
  });
});
