//! Who asks, and whether they may. Without tokens in the settings everybody on this machine may do everything; with them, every request
//! but the probes carries `Authorization: Bearer …`, and the token must have the scope of the endpoint. A token may also
//! stand as the password of `Authorization: Basic …`, whatever the user: so a browser asks for it by itself, and senders
//! that know only user and password can push.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::api::reply::{problem, with_header};
use crate::api::{Api, Site};
use crate::config::settings::{Scope, Token};

impl Api {
    /// Who asks, if they may. `None`: there are no tokens.
    pub fn allow(
        &self,
        headers: &HeaderMap,
        scope: Scope,
    ) -> Result<Option<String>, Box<Response>> {
        let settings = self
            .loaded
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .settings
            .clone();
        if settings.tokens.is_empty() {
            if !self.exposed {
                return Ok(None);
            }
            // It did not start like that: an edit took them away.
            return Err(Box::new(problem(
                StatusCode::FORBIDDEN,
                "no-tokens",
                "others on the network can reach this address and ops.yaml has no `auth.tokens` any more: nobody may do anything until it has",
            )));
        }
        let Some(token) = given(headers).and_then(|given| find(&settings.tokens, &given)) else {
            let refused = problem(
                StatusCode::UNAUTHORIZED,
                "no-token",
                "send `Authorization: Bearer TOKEN` with a token from `auth` in ops.yaml, or the token as the password of `Basic`",
            );
            let challenge = "Basic realm=\"ops: the password is a token\", charset=\"UTF-8\", Bearer realm=\"ops\"";
            return Err(Box::new(with_header(
                refused,
                header::WWW_AUTHENTICATE,
                challenge,
            )));
        };
        if token.scopes.contains(&scope) || token.scopes.contains(&Scope::Admin) {
            return Ok(Some(token.name.clone()));
        }
        let missing = Scope::ALL
            .iter()
            .find(|(_, s)| *s == scope)
            .map_or("admin", |(name, _)| name);
        Err(Box::new(problem(
            StatusCode::FORBIDDEN,
            "no-scope",
            format!("the token `{}` lacks the scope `{missing}`", token.name),
        )))
    }
}

fn given(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(token.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(token.trim()).ok()?).ok()?;
    let (_user, password) = pair.split_once(':')?;
    Some(password.to_owned())
}

/// Looks at every token, whichever matches: the time taken says nothing about where, or how far, one did.
fn find<'t>(tokens: &'t [Token], given: &str) -> Option<&'t Token> {
    let given = digest(&SHA256, given.as_bytes());
    let mut found = None;
    for token in tokens {
        let own = digest(&SHA256, token.secret.reveal().as_bytes());
        if verify_slices_are_equal(own.as_ref(), given.as_ref()).is_ok() {
            found = Some(token);
        }
    }
    found
}

/// Whether a browser sent this from a page that is not ours.
pub fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    match text(header::ORIGIN) {
        None => false,
        Some(origin) => origin.split_once("://").map(|(_, host)| host) != text(header::HOST),
    }
}

/// Declares what a handler takes so that only callers with a scope reach it.
macro_rules! callers {
    ($($(#[$doc:meta])* $name:ident $scope:ident $changes:literal),*) => {$(
        $(#[$doc])*
        pub struct $name(pub Option<String>);

        impl $name {
            /// Who it is: the token's name, or else who they say they are.
            pub fn who(self, said: Option<String>) -> String {
                self.0.or(said).unwrap_or_else(|| "anonymous".to_owned())
            }
        }

        impl FromRequestParts<Site> for $name {
            type Rejection = Response;
            async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
                if $changes && is_foreign(&parts.headers) {
                    return Err(problem(
                        StatusCode::FORBIDDEN,
                        "foreign-origin",
                        "a page from another origin may not do this",
                    ));
                }
                site.allow(&parts.headers, Scope::$scope).map($name).map_err(|r| *r)
            }
        }
    )*};
}

callers! {
    /// A caller who may look.
    Reader Read false,
    /// A caller who may acknowledge and silence.
    Operator Operate true,
    /// A caller who may switch heals.
    Healer Heal true,
    /// A caller who may do everything.
    Admin Admin true
}
